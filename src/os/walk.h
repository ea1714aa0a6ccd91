// Folders and all that is in them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"

namespace forerun::os {

struct WalkAttribute {
  std::string name;  // with its prefix: "user.x"
  Buffer value;
};

// One name in a folder. Numbers as stat(2) has them.
struct WalkEntry {
  std::string path;   // "usr/bin/env"; "" is the folder itself
  uint32_t mode = 0;  // kind and permissions
  uint32_t uid = 0, gid = 0;
  int64_t mtime_s = 0;
  uint32_t mtime_ns = 0;
  uint64_t size = 0;
  uint32_t device_major = 0, device_minor = 0;  // of a device
  uint64_t file_system = 0, inode = 0;          // together: the same file under another name
  uint64_t link_count = 0;
  std::string target;                     // of a symbolic link
  std::vector<WalkAttribute> attributes;  // extended ones
};

// Fills the front of `out` with a regular file's next bytes and returns how many; 0 at its end.
using ReadContent = std::function<Result<size_t>(MutableByteView out)>;
// `content` is of a regular file and good until this returns. May call `again` to read the file
// from its beginning. Returns whether to go into a folder.
using VisitEntry = std::function<Result<bool>(const WalkEntry& entry, const ReadContent& content,
                                              const std::function<void()>& again)>;

inline constexpr size_t kWalkDepthMax = 600;  // folders below one another: a descriptor each

// Visits the folder `path` and all that is in it: a folder before what is in it, names in order of
// their bytes. Follows no link and never leaves the folder, whoever changes it meanwhile: what an
// entry says and its content are of one file. What is mounted in the folder is visited as an empty
// folder. ERRORS: kIo, kDenied, kNotFound, with the path; kTooLarge over a limit; those of `visit`.
Status walk_tree(const std::string& path, const VisitEntry& visit);

// Removes a file or a folder with all that is in it; nothing happens if there is none. Follows no
// link. ERRORS: kIo, kDenied; kIo also if something is mounted in it.
Status remove_tree(const std::string& path);

}  // namespace forerun::os
