// Where everything stands on a composed disk.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/result.h"

namespace forerun::image::ext4 {

inline constexpr uint32_t kGroupBlocks = 32768;  // what one block of bitmap describes
inline constexpr uint32_t kDescriptorSize = 32;
inline constexpr uint32_t kRegionAlignment = 512;  // blocks: 2 MiB

struct Geometry {
  bool can_grow = false;  // groups 1, 3, 5, 7 and their powers begin with a copy of the tables
  uint32_t groups = 0;
  uint32_t inodes_per_group = 0;
  uint32_t table_blocks = 0;  // of one group's inode table
  uint64_t descriptor_blocks = 0;
  // First blocks, in this order.
  uint64_t descriptors = 1;
  uint64_t block_bitmaps = 0;
  uint64_t inode_bitmaps = 0;
  uint64_t inode_tables = 0;
  uint64_t journal = 0;
  uint64_t generated = 0;
  uint64_t generated_end = 0;
  std::vector<uint64_t> places;  // as Plan::blocks: of each place
  uint64_t end = 0;              // of all that is laid out
  uint32_t journal_blocks = 0;

  uint64_t blocks() const { return uint64_t{groups} * kGroupBlocks; }
  uint64_t inodes() const { return uint64_t{groups} * inodes_per_group; }
};

// Returns whether ext4's feature sparse_super has a copy of superblock and descriptors at the
// beginning of the group.
bool has_copy(uint32_t group);

// Returns the smallest disk that holds `inodes`, `place_blocks` (components, copies, generated) and
// `free_blocks` besides. With `can_grow`, nothing lies across the copies of the tables that growing
// needs: what would stands behind them. ERRORS: kTooLarge: over 2^44 bytes.
Result<Geometry> lay_out(uint64_t inodes, std::span<const uint64_t> place_blocks,
                         uint64_t free_blocks, bool can_grow);

}  // namespace forerun::image::ext4
