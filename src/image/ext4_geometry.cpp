#include "image/ext4_geometry.h"

#include "core/bytes.h"
#include "image/ext4_records.h"

namespace forerun::image::ext4 {
namespace {

constexpr uint32_t kInodesPerBlock = kBlockSize / kInodeSize;
constexpr uint64_t kGroupsMax = (1ull << 32) / kGroupBlocks - 1;
constexpr uint64_t kInodesMin = 16384;
constexpr uint64_t kBlocksPerInode = 4;     // of free space, as mke2fs: tables cost only addresses
constexpr uint64_t kLargeDiskGroups = 256;  // 32 GiB
constexpr uint32_t kJournalBlocks = 4096, kLargeJournalBlocks = 16384;

uint64_t divide_up(uint64_t value, uint64_t unit) { return value / unit + (value % unit != 0); }

Geometry lay_out_groups(uint64_t groups, uint64_t inodes, std::span<const uint64_t> place_blocks) {
  Geometry disk;
  disk.groups = static_cast<uint32_t>(groups);
  const uint64_t per_group = round_up(divide_up(inodes, groups), kInodesPerBlock);
  disk.inodes_per_group = static_cast<uint32_t>(per_group);
  disk.table_blocks = disk.inodes_per_group / kInodesPerBlock;
  disk.block_bitmaps = disk.descriptors + divide_up(groups * kDescriptorSize, kBlockSize);
  disk.inode_bitmaps = disk.block_bitmaps + groups;
  disk.inode_tables = disk.inode_bitmaps + groups;
  disk.journal = disk.inode_tables + groups * disk.table_blocks;
  disk.journal_blocks = groups < kLargeDiskGroups ? kJournalBlocks : kLargeJournalBlocks;
  disk.generated = disk.journal + disk.journal_blocks;
  disk.generated_end = disk.generated + place_blocks.back();
  disk.end = disk.generated_end;
  for (size_t i = 0; i + 1 < place_blocks.size(); ++i) {
    const uint64_t first = round_up(disk.end, kRegionAlignment);
    disk.places.push_back(first);
    if (place_blocks[i] > 0) disk.end = first + place_blocks[i];
  }
  disk.places.push_back(disk.generated);
  return disk;
}

}  // namespace

Result<Geometry> lay_out(uint64_t inodes, std::span<const uint64_t> place_blocks,
                         uint64_t free_blocks) {
  const uint64_t inodes_wanted =
      std::max({2 * inodes, kInodesMin, inodes + free_blocks / kBlocksPerInode});
  // More groups need longer tables, so the disk grows until it holds its own.
  uint64_t groups = divide_up(inodes_wanted, kGroupBlocks);
  while (groups <= kGroupsMax) {
    Geometry disk = lay_out_groups(groups, inodes_wanted, place_blocks);
    const uint64_t needed = divide_up(disk.end + free_blocks, kGroupBlocks);
    if (needed <= groups) return disk;
    groups = needed;
  }
  return fail(ErrorCode::kTooLarge, "the disk would have over 16 TiB");
}

}  // namespace forerun::image::ext4
