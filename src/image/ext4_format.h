// The parts of the ext4 format that are read here rather than by libext2fs, because it does not
// bound them: sizes in the superblock, directory entries, inline data. Pure functions of bytes.
// SOURCE: the kernel's Documentation/filesystems/ext4.
#pragma once

#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "image/file_system.h"

namespace forerun::image {

inline constexpr uint64_t kSuperblockOffset = 1024;
inline constexpr uint64_t kSuperblockSize = 1024;

struct Ext4Summary {
  bool needs_recovery = false;  // its journal holds what was not written to its place yet
};

// Returns whether `superblock`, the 1024 bytes at 1024, may be of an ext2, ext3 or ext4 system.
bool is_ext4(ByteView superblock);
// Checks what libext2fs would allocate or divide by. ERRORS: kInvalid if it is not ext4's;
// kCorrupt if its sizes are absurd or it is larger than its `part_size` bytes; kTooLarge.
Result<Ext4Summary> check_superblock(ByteView superblock, uint64_t part_size);

// Returns the error for libext2fs's `code`.
Error ext2_error(long code);

// Returns the content that stands in an inode, given its whole record: at least 60 bytes.
Result<Buffer> parse_inline_content(ByteView record);

// Gathers the entries of one directory, without "." and "..".
class DirectoryParser {
 public:
  DirectoryParser(uint64_t inodes, size_t entries_max)
      : inodes_(inodes), entries_max_(entries_max) {}

  // ERRORS: kCorrupt for records that leave the block, files that are none and names with '/' or
  // NUL; kTooLarge over the limit.
  Status add_block(ByteView block);
  // Adds the entries of a directory that stands in its inode.
  Status add_inline(ByteView content);
  std::vector<DirectoryEntry> take() && { return std::move(entries_); }

 private:
  const uint64_t inodes_;
  const size_t entries_max_;
  std::vector<DirectoryEntry> entries_;
};

}  // namespace forerun::image
