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

bool is_power(uint32_t number, uint32_t base) {
  while (number % base == 0) number /= base;
  return number == 1;
}

// Hands out runs of blocks, each behind the one before.
class Cursor {
 public:
  // copy_blocks: of each copy of the tables; 0: there are none.
  Cursor(uint64_t at, uint64_t copy_blocks) : at_(at), copy_blocks_(copy_blocks) {}

  uint64_t take(uint64_t count, uint64_t alignment) {
    uint64_t first = round_up(at_, alignment);
    if (count == 0) return first;
    for (uint64_t group = first / kGroupBlocks;
         copy_blocks_ > 0 && group * kGroupBlocks < first + count; ++group) {
      const uint64_t copy = group * kGroupBlocks;
      if (has_copy(static_cast<uint32_t>(group)) && first < copy + copy_blocks_)
        first = round_up(copy + copy_blocks_, alignment);
    }
    at_ = first + count;
    return first;
  }
  uint64_t at() const { return at_; }

 private:
  uint64_t at_;
  const uint64_t copy_blocks_;
};

Geometry lay_out_groups(uint64_t groups, uint64_t inodes, std::span<const uint64_t> place_blocks,
                        bool can_grow) {
  Geometry disk;
  disk.can_grow = can_grow;
  disk.groups = static_cast<uint32_t>(groups);
  const uint64_t per_group = round_up(divide_up(inodes, groups), kInodesPerBlock);
  disk.inodes_per_group = static_cast<uint32_t>(per_group);
  disk.table_blocks = disk.inodes_per_group / kInodesPerBlock;
  disk.descriptor_blocks = divide_up(groups * kDescriptorSize, kBlockSize);
  Cursor cursor(disk.descriptors + disk.descriptor_blocks,
                can_grow ? 1 + disk.descriptor_blocks : 0);
  disk.block_bitmaps = cursor.take(groups, 1);
  disk.inode_bitmaps = cursor.take(groups, 1);
  disk.inode_tables = cursor.take(groups * disk.table_blocks, 1);
  disk.journal_blocks = groups < kLargeDiskGroups ? kJournalBlocks : kLargeJournalBlocks;
  disk.journal = cursor.take(disk.journal_blocks, 1);
  disk.generated = cursor.take(place_blocks.back(), 1);
  disk.generated_end = disk.generated + place_blocks.back();
  for (size_t i = 0; i + 1 < place_blocks.size(); ++i)
    disk.places.push_back(cursor.take(place_blocks[i], kRegionAlignment));
  disk.places.push_back(disk.generated);
  disk.end = cursor.at();
  return disk;
}

}  // namespace

bool has_copy(uint32_t group) {
  if (group <= 1) return true;
  return is_power(group, 3) || is_power(group, 5) || is_power(group, 7);
}

Result<Geometry> lay_out(uint64_t inodes, std::span<const uint64_t> place_blocks,
                         uint64_t free_blocks, bool can_grow) {
  const uint64_t inodes_wanted =
      std::max({2 * inodes, kInodesMin, inodes + free_blocks / kBlocksPerInode});
  // More groups need longer tables, so the disk grows until it holds its own.
  uint64_t groups = divide_up(inodes_wanted, kGroupBlocks);
  while (groups <= kGroupsMax) {
    Geometry disk = lay_out_groups(groups, inodes_wanted, place_blocks, can_grow);
    const uint64_t needed = divide_up(disk.end + free_blocks, kGroupBlocks);
    if (needed <= groups) return disk;
    groups = needed;
  }
  return fail(ErrorCode::kTooLarge, "the disk would have over 16 TiB");
}

}  // namespace forerun::image::ext4
