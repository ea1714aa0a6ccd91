#include "image/ext4_tables.h"

#include <ext2fs/ext2fs.h>

#include "image/crc32c.h"
#include "image/ext4_plan.h"
#include "image/ext4_records.h"

namespace forerun::image::ext4 {
namespace {

constexpr uint32_t kSuperblockAt = 1024;
constexpr uint8_t kGroupsPerFlexLog =
    4;  // for the kernel's allocators; the tables are all in front

template <typename T>
ByteView bytes_of(const T& value) {
  return std::as_bytes(std::span<const T, 1>(&value, 1));
}

// Sets bits [first, first + count) of the bits that begin at `base`.
void set_bits(SparseBytes& disk, uint64_t base, uint64_t first, uint64_t count) {
  while (count > 0) {
    const uint64_t byte = base + first / 8;
    if (first % 8 != 0 || count < 8) {
      const uint64_t bits = std::min(count, 8 - first % 8);
      const auto mask = static_cast<std::byte>(((1u << bits) - 1) << (first % 8));
      disk.at(byte, 1)[0] |= mask;
      first += bits;
      count -= bits;
      continue;
    }
    const uint64_t size =
        std::min(count / 8, SparseBytes::kPieceSize - byte % SparseBytes::kPieceSize);
    std::ranges::fill(disk.at(byte, size), std::byte{0xff});
    first += size * 8;
    count -= size * 8;
  }
}

uint32_t used_bits(ByteView bitmap) {
  uint32_t bits = 0;
  for (size_t at = 0; at < bitmap.size(); at += sizeof(uint64_t)) {
    uint64_t word = 0;
    std::memcpy(&word, &bitmap[at], sizeof word);
    bits += static_cast<uint32_t>(std::popcount(word));
  }
  return bits;
}

// Returns the block as it stands; empty if nothing was ever written near it.
ByteView find_block(const SparseBytes& disk, uint64_t block) {
  const uint64_t at = block * kBlockSize;
  const ByteView piece = disk.find(at / SparseBytes::kPieceSize);
  return piece.empty() ? piece : piece.subspan(at % SparseBytes::kPieceSize, kBlockSize);
}

struct Totals {
  uint64_t free_blocks = 0, free_inodes = 0;
};

class Tables {
 public:
  Tables(SparseBytes& disk, const Geometry& geometry, const Ext4Options& options,
         const InodeUse& inodes)
      : disk_(disk),
        geometry_(geometry),
        options_(options),
        inodes_(inodes),
        seed_(file_system_seed(options.identity)) {}

  Totals write_groups();
  void write_superblock(const Totals& totals);

 private:
  static void seal_superblock(ext2_super_block& super) {
    super.s_checksum = crc32c(~0u, bytes_of(super).first(offsetof(ext2_super_block, s_checksum)));
  }
  void write_copies(ext2_super_block super);
  void describe_blocks(uint32_t group, ext2_group_desc& descriptor);
  void describe_inodes(uint32_t group, ext2_group_desc& descriptor);

  SparseBytes& disk_;
  const Geometry& geometry_;
  const Ext4Options& options_;
  const InodeUse& inodes_;
  const uint32_t seed_;
};

void Tables::describe_blocks(uint32_t group, ext2_group_desc& descriptor) {
  const uint64_t block = geometry_.block_bitmaps + group;
  descriptor.bg_block_bitmap = static_cast<uint32_t>(block);
  ByteView bitmap = find_block(disk_, block);
  const uint32_t used = bitmap.empty() ? 0 : used_bits(bitmap);
  descriptor.bg_free_blocks_count = static_cast<uint16_t>(kGroupBlocks - used);
  // The last group's is never left to the kernel, as mke2fs does it.
  if (used == 0 && group + 1 < geometry_.groups) {
    descriptor.bg_flags |= EXT2_BG_BLOCK_UNINIT;
    return;
  }
  if (bitmap.empty()) bitmap = disk_.at(block * kBlockSize, kBlockSize);
  descriptor.bg_block_bitmap_csum_lo = static_cast<uint16_t>(crc32c(seed_, bitmap));
}

void Tables::describe_inodes(uint32_t group, ext2_group_desc& descriptor) {
  const uint32_t per_group = geometry_.inodes_per_group;
  const uint64_t before = uint64_t{group} * per_group;
  const uint32_t used =
      inodes_.last_inode <= before
          ? 0
          : static_cast<uint32_t>(std::min<uint64_t>(inodes_.last_inode - before, per_group));
  const uint64_t block = geometry_.inode_bitmaps + group;
  descriptor.bg_inode_bitmap = static_cast<uint32_t>(block);
  descriptor.bg_inode_table =
      static_cast<uint32_t>(geometry_.inode_tables + uint64_t{group} * geometry_.table_blocks);
  descriptor.bg_free_inodes_count = descriptor.bg_itable_unused =
      static_cast<uint16_t>(per_group - used);
  descriptor.bg_used_dirs_count = static_cast<uint16_t>(inodes_.directories_per_group[group]);
  // What was never written reads as zeroes: the kernel need not zero it.
  descriptor.bg_flags |= EXT2_BG_INODE_ZEROED;
  if (used == 0) {
    descriptor.bg_flags |= EXT2_BG_INODE_UNINIT;
    return;
  }
  const uint64_t at = block * kBlockSize;
  set_bits(disk_, at, 0, used);
  set_bits(disk_, at, per_group, kBlockSize * 8 - per_group);
  descriptor.bg_inode_bitmap_csum_lo =
      static_cast<uint16_t>(crc32c(seed_, disk_.at(at, per_group / 8)));
}

Totals Tables::write_groups() {
  Totals totals;
  for (uint32_t group = 0; group < geometry_.groups; ++group) {
    ext2_group_desc descriptor{};
    static_assert(sizeof descriptor == kDescriptorSize);
    describe_blocks(group, descriptor);
    describe_inodes(group, descriptor);
    totals.free_blocks += descriptor.bg_free_blocks_count;
    totals.free_inodes += descriptor.bg_free_inodes_count;
    descriptor.bg_checksum =
        static_cast<uint16_t>(crc32c(crc32c(seed_, bytes_of(group)), bytes_of(descriptor)));
    disk_.write(geometry_.descriptors * kBlockSize + uint64_t{group} * kDescriptorSize,
                bytes_of(descriptor));
  }
  return totals;
}

void write_features(ext2_super_block& super, bool can_grow) {
  super.s_feature_compat = EXT3_FEATURE_COMPAT_HAS_JOURNAL | EXT2_FEATURE_COMPAT_EXT_ATTR |
                           EXT2_FEATURE_COMPAT_DIR_INDEX;
  super.s_feature_incompat = EXT2_FEATURE_INCOMPAT_FILETYPE | EXT3_FEATURE_INCOMPAT_EXTENTS |
                             EXT4_FEATURE_INCOMPAT_FLEX_BG;
  super.s_feature_ro_compat = EXT2_FEATURE_RO_COMPAT_LARGE_FILE | EXT4_FEATURE_RO_COMPAT_HUGE_FILE |
                              EXT4_FEATURE_RO_COMPAT_DIR_NLINK |
                              EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE |
                              EXT4_FEATURE_RO_COMPAT_METADATA_CSUM;
  // The kernel grows no file system with sparse_super2; of the others, it needs no resize_inode: it
  // turns to meta_bg when the descriptors' blocks are full.
  if (can_grow)
    super.s_feature_ro_compat |= EXT2_FEATURE_RO_COMPAT_SPARSE_SUPER;
  else
    super.s_feature_compat |= EXT4_FEATURE_COMPAT_SPARSE_SUPER2;
  super.s_default_mount_opts = EXT2_DEFM_XATTR_USER | EXT2_DEFM_ACL;
  super.s_checksum_type = EXT2_CRC32C_CHKSUM;
  super.s_flags = EXT2_FLAGS_SIGNED_HASH;
  super.s_def_hash_version = EXT2_HASH_HALF_MD4;
  super.s_log_groups_per_flex = kGroupsPerFlexLog;
  super.s_min_extra_isize = super.s_want_extra_isize = kExtraSize;
}

void Tables::write_superblock(const Totals& totals) {
  ext2_super_block super{};
  static_assert(sizeof super == 1024);
  write_features(super, geometry_.can_grow);
  super.s_magic = EXT2_SUPER_MAGIC;
  super.s_rev_level = EXT2_DYNAMIC_REV;
  super.s_state = EXT2_VALID_FS;
  super.s_errors = EXT2_ERRORS_CONTINUE;
  super.s_max_mnt_count = -1;
  super.s_inodes_count = static_cast<uint32_t>(geometry_.inodes());
  super.s_blocks_count = static_cast<uint32_t>(geometry_.blocks());
  super.s_free_blocks_count = static_cast<uint32_t>(totals.free_blocks);
  super.s_free_inodes_count = static_cast<uint32_t>(totals.free_inodes);
  super.s_log_block_size = super.s_log_cluster_size = 2;
  super.s_blocks_per_group = super.s_clusters_per_group = kGroupBlocks;
  super.s_inodes_per_group = geometry_.inodes_per_group;
  super.s_first_ino = kFirstInode;
  super.s_inode_size = kInodeSize;
  const auto time = static_cast<uint64_t>(std::max<int64_t>(options_.time_s, 0));
  super.s_wtime = super.s_lastcheck = super.s_mkfs_time = static_cast<uint32_t>(time);
  super.s_wtime_hi = super.s_lastcheck_hi = super.s_mkfs_time_hi = static_cast<uint8_t>(time >> 32);
  const std::array<uint8_t, 16> uuid = uuid_of(options_.identity);
  std::memcpy(super.s_uuid, uuid.data(), uuid.size());
  std::memcpy(super.s_hash_seed, options_.identity.bytes.data() + uuid.size(),
              sizeof super.s_hash_seed);
  const size_t label_size = std::min(options_.label.size(), sizeof super.s_volume_name);
  std::copy_n(options_.label.data(), label_size, super.s_volume_name);
  super.s_journal_inum = kJournalInode;
  super.s_jnl_backup_type = EXT3_JNL_BACKUP_BLOCKS;
  const MutableByteView journal = inode_record(disk_, geometry_, kJournalInode);
  std::memcpy(super.s_jnl_blocks, journal.data() + kContentOffset, kContentSize);
  super.s_jnl_blocks[16] = geometry_.journal_blocks * kBlockSize;
  seal_superblock(super);
  disk_.write(kSuperblockAt, bytes_of(super));
  if (geometry_.can_grow) write_copies(super);
}

// At the beginning of each group that has one.
void Tables::write_copies(ext2_super_block super) {
  for (uint32_t group = 1; group < geometry_.groups; ++group) {
    if (!has_copy(group)) continue;
    const uint64_t at = uint64_t{group} * kGroupBlocks * kBlockSize;
    super.s_block_group_nr = static_cast<uint16_t>(group);
    seal_superblock(super);
    disk_.write(at, bytes_of(super));
    for (uint64_t i = 0; i < geometry_.descriptor_blocks; ++i) {
      const ByteView block = find_block(disk_, geometry_.descriptors + i);
      disk_.write(at + (1 + i) * kBlockSize, Buffer(block.begin(), block.end()));
    }
  }
}

}  // namespace

std::array<uint8_t, 16> uuid_of(const Digest& identity) {
  std::array<uint8_t, 16> uuid{};
  std::copy_n(identity.bytes.begin(), uuid.size(), uuid.begin());
  // RFC 9562: version 8, made as the maker likes.
  uuid[6] = static_cast<uint8_t>((uuid[6] & 0x0f) | 0x80);
  uuid[8] = static_cast<uint8_t>((uuid[8] & 0x3f) | 0x80);
  return uuid;
}

uint32_t file_system_seed(const Digest& identity) {
  return crc32c(~0u, bytes_of(uuid_of(identity)));
}

void mark_used(SparseBytes& disk, const Geometry& geometry, uint64_t first, uint64_t count) {
  set_bits(disk, geometry.block_bitmaps * kBlockSize, first, count);
}

uint64_t write_tables(SparseBytes& disk, const Geometry& geometry, const Ext4Options& options,
                      const InodeUse& inodes) {
  Tables tables(disk, geometry, options, inodes);
  const Totals totals = tables.write_groups();
  tables.write_superblock(totals);
  return totals.free_blocks;
}

void write_journal(SparseBytes& disk, const Geometry& geometry, const Ext4Options& options) {
  const uint32_t seed = inode_seed(file_system_seed(options.identity), kJournalInode);
  const MutableByteView record = inode_record(disk, geometry, kJournalInode);
  const Run run{0, static_cast<uint32_t>(geometry.journal), geometry.journal_blocks};
  write_extents({&run, 1}, seed, 0, record.subspan(kContentOffset, kContentSize), {});
  InodeFields fields;
  fields.number = kJournalInode;
  fields.mode = 0600;
  fields.size = uint64_t{geometry.journal_blocks} * kBlockSize;
  fields.block_count = geometry.journal_blocks;
  fields.mtime_s = options.time_s;
  fields.has_extents = true;
  write_inode(fields, record);
  seal_inode(record, seed);

  // The journal's superblock, version 2; its fields are big-endian. SOURCE: the kernel's
  // Documentation/filesystems/ext4/journal.rst.
  const MutableByteView block = disk.at(geometry.journal * kBlockSize, kBlockSize);
  const auto put = [&](size_t offset, uint32_t value) {
    const uint32_t swapped = std::byteswap(value);
    std::memcpy(&block[offset], &swapped, sizeof swapped);
  };
  put(0x00, 0xC03B3998);  // magic
  put(0x04, 4);           // block type: superblock, version 2
  put(0x0C, kBlockSize);
  put(0x10, geometry.journal_blocks);
  put(0x14, 1);  // first block of the log
  put(0x18, 1);  // first sequence number expected
  put(0x40, 1);  // users
  const std::array<uint8_t, 16> uuid = uuid_of(options.identity);
  std::memcpy(&block[0x30], uuid.data(), uuid.size());
}

MutableByteView inode_record(SparseBytes& disk, const Geometry& geometry, uint32_t number) {
  return disk.at(geometry.inode_tables * kBlockSize + uint64_t{number - 1} * kInodeSize,
                 kInodeSize);
}

}  // namespace forerun::image::ext4
