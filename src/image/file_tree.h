// The files of a component, or of several merged: what a file system needs to know of them, without
// their data. A hard-linked file is one inode with several names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/id.h"

namespace forerun::image {

enum class InodeKind : uint8_t {
  kRegular = 1,
  kDirectory = 2,
  kSymlink = 3,
  kBlockDevice = 4,
  kCharDevice = 5,
  kFifo = 6,
  kWhiteout = 7,  // the name is removed from what lies below
};

struct Xattr {
  std::string name;  // with its prefix: "user.x", "security.capability"
  Buffer value;
  bool operator==(const Xattr&) const = default;
};

// A run of a regular file's data. What no extent covers is a hole.
struct FileExtent {
  uint64_t file_offset = 0;  // bytes; a multiple of 4096
  uint64_t data_offset = 0;  // in the component's data; a multiple of 4096
  uint64_t length = 0;       // bytes; ends at the file's end or at a multiple of 4096
  bool operator==(const FileExtent&) const = default;
};

struct TreeInode {
  InodeKind kind = InodeKind::kRegular;
  uint16_t mode = 0;  // permission bits, set-id and sticky: 07777
  uint32_t uid = 0, gid = 0;
  int64_t mtime_s = 0;
  uint32_t mtime_ns = 0;
  uint64_t size = 0;                            // of a regular file
  uint32_t device_major = 0, device_minor = 0;  // of a device
  bool is_opaque = false;                       // a directory that hides the one below it
  bool gives_way = false;  // a directory that is as said only where no other input says otherwise
  std::string target;      // of a symbolic link: 1 to 4095 bytes
  std::vector<Xattr> xattrs;        // by name
  std::vector<FileExtent> extents;  // by file_offset
  Digest content;                   // of a regular file: SHA-256 of its bytes
  bool operator==(const TreeInode&) const = default;
};

// A name in a directory. names[0] is the root: its name is empty, its parent itself.
struct TreeName {
  uint32_t parent = 0;  // index into names, smaller than this name's own, but for the root
  uint32_t inode = 0;   // index into inodes
  std::string name;     // 1 to 255 bytes, without '/' and NUL, neither "." nor ".."
  bool operator==(const TreeName&) const = default;
};

// Canonical: names in depth-first order, those of a directory sorted by bytes; inodes numbered by
// their first name. So one tree has one form.
struct FileTree {
  std::vector<TreeInode> inodes;
  std::vector<TreeName> names;

  // Returns "/usr/bin/env" for a name's index; "/" for the root.
  std::string path_of(uint32_t name) const;
  // Returns the index of the name at an absolute path without links, "." or "..".
  std::optional<uint32_t> find(std::string_view path) const;
  bool operator==(const FileTree&) const = default;
};

// Returns the tree in canonical form: orders names, renumbers inodes, drops inodes without a name.
FileTree canonical(FileTree tree);

}  // namespace forerun::image
