#include "image/ext4_format.h"

#include <ext2fs/ext2fs.h>
#include <fmt/format.h>

namespace forerun::image {
namespace {

static_assert(std::endian::native == std::endian::little && sizeof(ext2_super_block) == 1024);

// Group descriptors are held in memory: at most 64 MiB of them.
constexpr uint64_t kGroupsMax = uint64_t{1} << 20;
constexpr uint32_t kBlockSizeLogMax = 6;  // 64 KiB
constexpr size_t kInlineSize = sizeof(ext2_inode::i_block);

std::unexpected<Error> corrupt(std::string what) {
  return fail(ErrorCode::kCorrupt, std::move(what));
}

template <typename Value>
Value load(ByteView bytes, size_t offset) {
  Value value{};
  FR_ASSERT(fits({offset, sizeof(Value)}, bytes.size()));
  std::memcpy(&value, &bytes[offset], sizeof(Value));
  return value;
}

// Checks what depends on how large a group is. Every quotient here has a divisor over 0.
Status check_groups(const ext2_super_block& super, uint64_t blocks, uint64_t block_size) {
  if (super.s_blocks_per_group == 0 || super.s_inodes_per_group == 0 ||
      super.s_inodes_per_group > block_size * 8) {
    return corrupt("its superblock has groups of an impossible size");
  }
  const uint64_t groups =
      (blocks - super.s_first_data_block + super.s_blocks_per_group - 1) / super.s_blocks_per_group;
  if (groups > kGroupsMax) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("it has {} block groups; the limit is {}", groups, kGroupsMax));
  }
  if (super.s_inodes_count < EXT2_ROOT_INO ||
      super.s_inodes_count > groups * super.s_inodes_per_group) {
    return corrupt("its superblock has more inodes than its groups hold");
  }
  const uint64_t inode_size =
      super.s_rev_level == EXT2_GOOD_OLD_REV ? EXT2_GOOD_OLD_INODE_SIZE : super.s_inode_size;
  if (!std::has_single_bit(inode_size) || inode_size < EXT2_GOOD_OLD_INODE_SIZE ||
      inode_size > block_size) {
    return corrupt(fmt::format("its inodes have {} bytes", inode_size));
  }
  if ((super.s_feature_incompat & EXT4_FEATURE_INCOMPAT_64BIT) &&
      (!std::has_single_bit(super.s_desc_size) || super.s_desc_size < EXT2_MIN_DESC_SIZE_64BIT ||
       super.s_desc_size > EXT2_MAX_DESC_SIZE)) {
    return corrupt(fmt::format("its group descriptors have {} bytes", super.s_desc_size));
  }
  return {};
}

// One attribute in an inode's record, as the format has it.
struct AttributeEntry {
  uint8_t name_length;
  uint8_t name_index;
  uint16_t value_offset;
  uint32_t value_inode;
  uint32_t value_size;
  uint32_t hash;
};
static_assert(sizeof(AttributeEntry) == 16);

// Returns the value of "system.data" among the attributes in an inode's record; empty if it has
// none. Values count from the first entry.
Result<ByteView> find_inline_rest(ByteView record) {
  constexpr uint32_t kMagic = 0xea020000;
  constexpr uint8_t kSystem = 7;
  constexpr size_t kMagicSize = 4;
  if (record.size() < EXT2_GOOD_OLD_INODE_SIZE + 4) return ByteView{};
  const size_t start =
      EXT2_GOOD_OLD_INODE_SIZE + load<uint16_t>(record, EXT2_GOOD_OLD_INODE_SIZE) + kMagicSize;
  if (start > record.size() || load<uint32_t>(record, start - kMagicSize) != kMagic) {
    return ByteView{};
  }
  const ByteView area = record.subspan(start);
  for (size_t at = 0; fits({at, sizeof(AttributeEntry)}, area.size());) {
    const auto entry = load<AttributeEntry>(area, at);
    if (entry.name_length == 0 && entry.name_index == 0) break;
    const ByteRange name{at + sizeof(AttributeEntry), entry.name_length};
    if (!fits(name, area.size())) return corrupt("an attribute's name leaves the inode");
    if (entry.name_index == kSystem && as_text(area.subspan(name.offset, name.length)) == "data") {
      if (entry.value_inode != 0 || !fits({entry.value_offset, entry.value_size}, area.size())) {
        return corrupt("its inline data leaves the inode");
      }
      return area.subspan(entry.value_offset, entry.value_size);
    }
    at = round_up(name.end(), 4);
  }
  return ByteView{};
}

}  // namespace

bool is_ext4(ByteView superblock) {
  if (superblock.size() < kSuperblockSize) return false;
  const auto super = load<ext2_super_block>(superblock, 0);
  return super.s_magic == EXT2_SUPER_MAGIC && super.s_rev_level <= EXT2_DYNAMIC_REV;
}

Result<Ext4Summary> check_superblock(ByteView superblock, uint64_t part_size) {
  if (!is_ext4(superblock)) {
    return fail(ErrorCode::kInvalid, "there is no ext2, ext3 or ext4 file system");
  }
  const auto super = load<ext2_super_block>(superblock, 0);
  if (super.s_log_block_size > kBlockSizeLogMax) {
    return corrupt(fmt::format("its blocks have 2^{} bytes", super.s_log_block_size + 10ull));
  }
  const uint64_t block_size = uint64_t{1024} << super.s_log_block_size;
  const bool is_64bit = super.s_feature_incompat & EXT4_FEATURE_INCOMPAT_64BIT;
  const uint64_t blocks =
      super.s_blocks_count | (is_64bit ? uint64_t{super.s_blocks_count_hi} << 32 : 0);
  if (blocks > part_size / block_size) {
    return corrupt(fmt::format("it has {} blocks of {} bytes but only {} bytes to stand in", blocks,
                               block_size, part_size));
  }
  if (super.s_first_data_block > 1 || blocks <= super.s_first_data_block) {
    return corrupt("its first block is not within it");
  }
  FR_CHECK(check_groups(super, blocks, block_size));
  return Ext4Summary{(super.s_feature_incompat & EXT3_FEATURE_INCOMPAT_RECOVER) != 0};
}

Error ext2_error(long code) {
  static const bool kTextsAreKnown = (initialize_ext2_error_table(), true);
  FR_ASSERT(kTextsAreKnown);
  ErrorCode kind = ErrorCode::kCorrupt;
  if (code == EXT2_ET_UNSUPP_FEATURE || code == EXT2_ET_REV_TOO_HIGH) {
    kind = ErrorCode::kUnsupported;
  } else if (code == EXT2_ET_NO_MEMORY) {
    kind = ErrorCode::kTooLarge;
  }
  return {kind, error_message(code)};
}

Result<Buffer> parse_inline_content(ByteView record) {
  constexpr size_t kOffset = offsetof(ext2_inode, i_block);
  FR_ASSERT(record.size() >= EXT2_GOOD_OLD_INODE_SIZE);
  const ByteView head = record.subspan(kOffset, kInlineSize);
  FR_TRY(const ByteView rest, find_inline_rest(record));
  Buffer content(head.begin(), head.end());
  content.insert(content.end(), rest.begin(), rest.end());
  return content;
}

Status DirectoryParser::add_block(ByteView block) {
  constexpr size_t kHeadSize = 8;
  for (size_t at = 0; at < block.size();) {
    const size_t left = block.size() - at;
    if (left < kHeadSize) return corrupt("a directory's block ends within an entry");
    const auto file = load<uint32_t>(block, at);
    const auto name_size = load<uint8_t>(block, at + 6);
    size_t size = load<uint16_t>(block, at + 4);
    // 16 bits hold a block of 64 KiB so.
    if (block.size() >= 64 * kKiB && (size == 0 || size == 65535)) size = 64 * kKiB;
    if (size < kHeadSize || size % 4 != 0 || size > left || kHeadSize + name_size > size) {
      return corrupt(fmt::format("a directory entry has {} bytes", size));
    }
    const std::string_view name = as_text(block.subspan(at + kHeadSize, name_size));
    at += size;
    if (file == 0 || name == "." || name == "..") continue;
    if (file > inodes_) return corrupt(fmt::format("an entry names inode {}", file));
    if (name.empty() || name.find_first_of(std::string_view("/\0", 2)) != name.npos) {
      return corrupt("an entry's name is empty or has '/' or NUL");
    }
    if (entries_.size() >= entries_max_) {
      return fail(ErrorCode::kTooLarge, fmt::format("it has over {} entries", entries_max_));
    }
    entries_.push_back({std::string(name), file});
  }
  return {};
}

Status DirectoryParser::add_inline(ByteView content) {
  constexpr size_t kParentSize = 4;  // the inode that ".." would name
  if (content.size() < kInlineSize) return corrupt("an inline directory is too short");
  FR_CHECK(add_block(content.subspan(kParentSize, kInlineSize - kParentSize)));
  return add_block(content.subspan(kInlineSize));
}

}  // namespace forerun::image
