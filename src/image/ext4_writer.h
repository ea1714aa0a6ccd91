// From a merged tree to an ext4 file system, written from memory: superblock, tables, directories
// and the content of generated files as sparse bytes; the content of all others stays where it is,
// and extents say which part of the disk is which part of which component.
//
// Everything generated stands in front: superblock, group descriptors, block bitmaps, inode
// bitmaps, inode tables, journal, directories, long links, extent and attribute blocks, generated
// content. Then one region per component, at a multiple of 2 MiB, in the component's own order;
// then copies: content that two files of a component share stands there for each file after the
// first, since ext4 forbids two files one block. The rest is free. Equal inputs give equal bytes.
//
// SOURCE: the kernel's Documentation/filesystems/ext4. Features: has_journal ext_attr dir_index
// sparse_super2 (no backups; growing needs sparse_super and its backups instead) filetype extent
// flex_bg large_file huge_file dir_nlink extra_isize metadata_csum. Directories are linear. Groups
// nothing stands in have uninitialised tables.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/id.h"
#include "core/result.h"
#include "image/ext4_meanings.h"
#include "image/sparse_bytes.h"
#include "image/tree_merge.h"

namespace forerun::image {

inline constexpr uint64_t kExt4SizeUnit = 128 * kMiB;  // a block group: sizes are multiples of it
inline constexpr uint64_t kExt4SizeMax = (1ull << 44) - kExt4SizeUnit;
inline constexpr uint64_t kComponentAlignment = 2 * kMiB;

struct Ext4Options {
  Digest identity;              // UUID and hash seed come from it
  int64_t time_s = 0;           // when the file system was made
  uint64_t writable_bytes = 0;  // that are free at least
  std::string label;            // at most 16 bytes
  // The kernel can make the mounted file system larger. Costs a copy of superblock and descriptors
  // in groups 1, 3, 5, 7, 9, 25, …, which no component may lie across.
  bool can_grow = false;
};

// A run of the disk that is a run of a component's data.
struct DataExtent {
  ByteRange range;
  uint32_t component = 0;
  uint64_t component_offset = 0;
  bool operator==(const DataExtent&) const = default;
};

struct Ext4Statistics {
  uint64_t inodes = 0;  // of the tree
  uint64_t directories = 0;
  uint64_t generated_bytes = 0;  // blocks of directories, links, and generated content
  uint64_t copied_bytes = 0;     // address space that copies take
  uint64_t free_bytes = 0;
  std::vector<uint64_t> component_bytes;  // of each one's data that files of the disk use
  bool operator==(const Ext4Statistics&) const = default;
};

struct Ext4Image {
  uint64_t size_bytes = 0;
  SparseBytes metadata;
  std::vector<DataExtent> extents;  // by range
  std::vector<NamedRange> names;    // what stands where in the metadata
  Ext4Statistics statistics;
};

// Returns the file system that holds `tree`. component_sizes: bytes of data of each component that
// the tree's inodes name. ERRORS: kCorrupt: a file's extents overlap or leave its component;
// kTooLarge: over kExt4SizeMax, 2^32 inodes, 65,000 links of a file or a block of attributes;
// kUnsupported: an attribute ext4 cannot store; kInvalid: /lost+found is no directory. All name the
// path.
Result<Ext4Image> write_ext4(const MergedTree& tree, std::span<const uint64_t> component_sizes,
                             const Ext4Options& options);

}  // namespace forerun::image
