// The records of an ext4 file system, as bytes with their checksums: extent trees, attributes,
// directory blocks, inodes. Pure functions; ext4_writer.h says where each stands.
// SOURCE: the kernel's Documentation/filesystems/ext4 and fs/ext4/xattr.c (hashes, order).
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "image/file_tree.h"

namespace forerun::image::ext4 {

inline constexpr uint32_t kBlockSize = 4096;
inline constexpr uint32_t kInodeSize = 256;
inline constexpr uint32_t kExtraSize = 32;  // of an inode's fields past the first 128 bytes
inline constexpr uint32_t kInodeXattrSize = kInodeSize - 128 - kExtraSize;
inline constexpr uint32_t kExtentBlocksMax = 32768;
inline constexpr uint32_t kInlineExtentsMax = 4;
inline constexpr uint32_t kBlockExtentsMax = (kBlockSize - 12) / 12;
inline constexpr uint32_t kLinksMax = 65000;
inline constexpr uint32_t kSymlinkInlineMax = 59;
inline constexpr uint32_t kDirectoryTailSize = 12;
inline constexpr uint32_t kDirectoryCapacity = kBlockSize - kDirectoryTailSize;

// A run of blocks that hold a run of a file.
struct Run {
  uint32_t logical = 0;   // block in the file
  uint32_t physical = 0;  // block on the disk
  uint32_t count = 0;     // at most kExtentBlocksMax
};

// Returns the checksum that all checksums of an inode begin with.
uint32_t inode_seed(uint32_t file_system_seed, uint32_t number);

// --- extent trees ---

// Returns how many blocks the tree of `run_count` runs takes outside the inode.
uint32_t extent_blocks(size_t run_count);
// Writes the tree of `runs` into `root`, the 60 bytes in the inode, and `blocks`, whose first one
// is number `first_block` on the disk. REQUIRES: blocks has extent_blocks(runs.size()) blocks.
void write_extents(std::span<const Run> runs, uint32_t seed, uint32_t first_block,
                   MutableByteView root, std::span<const MutableByteView> blocks);

// --- extended attributes ---

struct XattrRecords {
  Buffer in_inode;  // kInodeXattrSize bytes, or empty
  Buffer block;     // a block without its checksum, or empty
};
// ERRORS: kTooLarge if they need more than a block; kUnsupported for names ext4 has no number for.
Result<XattrRecords> encode_xattrs(std::span<const Xattr> xattrs);
void seal_xattr_block(MutableByteView block, uint32_t file_system_seed, uint32_t block_number);

// --- directories ---

inline uint32_t entry_size(size_t name_size) {
  return (8 + static_cast<uint32_t>(name_size) + 3) & ~3u;
}
// The file type in a directory's entries.
uint8_t entry_type(InodeKind kind);
// Writes an entry of entry_size(name.size()) bytes to the front of `space`.
void write_entry(MutableByteView space, uint32_t inode, uint8_t type, std::string_view name);
// Stretches the entry at `last_entry` to the end of its block, and adds the block's checksum.
void seal_directory_block(MutableByteView block, uint32_t last_entry, uint32_t seed);

// --- inodes ---

struct InodeFields {
  uint32_t number = 0;
  InodeKind kind = InodeKind::kRegular;
  uint16_t mode = 0;  // 07777
  uint32_t uid = 0, gid = 0;
  uint64_t size = 0;
  uint32_t link_count = 1;
  uint64_t block_count = 0;  // all that are its own
  uint32_t xattr_block = 0;
  int64_t mtime_s = 0;
  uint32_t mtime_ns = 0;
  bool has_extents = false;
  ByteView xattrs;  // in the inode
};

// Writes the record but for its 60 bytes of content, which stand at kContentOffset, into `record`,
// which is zero elsewhere.
inline constexpr size_t kContentOffset = 40;
inline constexpr size_t kContentSize = 60;
void write_inode(const InodeFields& fields, MutableByteView record);
// Writes the content of a device's inode.
void write_device(uint32_t major, uint32_t minor, MutableByteView content);
// Adds the checksum.
void seal_inode(MutableByteView record, uint32_t seed);

}  // namespace forerun::image::ext4
