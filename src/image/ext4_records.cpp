#include "image/ext4_records.h"

#include <ext2fs/ext2fs.h>
#include <ext2fs/ext3_extents.h>
#include <fmt/format.h>

#include "image/crc32c.h"

namespace forerun::image::ext4 {
namespace {

static_assert(std::endian::native == std::endian::little, "records are written as they stand");
static_assert(sizeof(ext2_inode_large) == 160);
static_assert(sizeof(ext3_extent_header) == 12 && sizeof(ext3_extent) == 12);

template <typename T>
ByteView bytes_of(const T& value) {
  return std::as_bytes(std::span<const T, 1>(&value, 1));
}

template <typename T>
void store(MutableByteView space, size_t offset, const T& value) {
  FR_ASSERT(offset + sizeof value <= space.size());
  std::memcpy(space.data() + offset, &value, sizeof value);
}

void store_text(MutableByteView space, size_t offset, std::string_view text) {
  FR_ASSERT(offset + text.size() <= space.size());
  if (!text.empty()) std::memcpy(space.data() + offset, text.data(), text.size());
}

// --- extent trees ---

void write_node(std::span<const Run> entries, uint16_t depth, uint16_t capacity,
                MutableByteView node) {
  ext3_extent_header header{};
  header.eh_magic = EXT3_EXT_MAGIC;
  header.eh_entries = static_cast<uint16_t>(entries.size());
  header.eh_max = capacity;
  header.eh_depth = depth;
  store(node, 0, header);
  size_t at = sizeof header;
  for (const Run& entry : entries) {
    if (depth == 0) {
      ext3_extent extent{};
      extent.ee_block = entry.logical;
      extent.ee_len = static_cast<uint16_t>(entry.count);
      extent.ee_start = entry.physical;
      store(node, at, extent);
    } else {
      ext3_extent_idx index{};
      index.ei_block = entry.logical;
      index.ei_leaf = entry.physical;
      store(node, at, index);
    }
    at += sizeof(ext3_extent);
  }
}

// --- extended attributes ---

struct Prefix {
  std::string_view text;
  uint8_t number;
  bool is_whole_name;
};
constexpr Prefix kPrefixes[] = {
    {"system.posix_acl_access", 2, true},
    {"system.posix_acl_default", 3, true},
    {"system.richacl", 8, true},
    {"user.", 1, false},
    {"trusted.", 4, false},
    {"security.", 6, false},
    {"system.", 7, false},
};

struct DiskXattr {
  uint8_t prefix = 0;
  std::string_view name;  // without its prefix
  Buffer value;

  size_t entry_size() const { return sizeof(ext2_ext_attr_entry) + round_up(name.size(), 4); }
  size_t value_size() const { return round_up(value.size(), 4); }
  size_t size() const { return entry_size() + value_size(); }
};

// Returns an access list as ext4 stores it: version 1, with an id only where there is one.
Result<Buffer> disk_acl(const Xattr& xattr) {
  constexpr uint32_t kVersion = 2, kDiskVersion = 1;
  constexpr size_t kHeadSize = 4, kEntrySize = 8;
  constexpr uint16_t kUser = 0x02, kGroup = 0x08;
  const ByteView value = xattr.value;
  uint32_t version = 0;
  if (value.size() >= kHeadSize) std::memcpy(&version, value.data(), sizeof version);
  if (version != kVersion || (value.size() - kHeadSize) % kEntrySize != 0) {
    return fail(ErrorCode::kCorrupt, fmt::format("{} is no access list", xattr.name));
  }
  Buffer disk(bytes_of(kDiskVersion).begin(), bytes_of(kDiskVersion).end());
  for (size_t at = kHeadSize; at < value.size(); at += kEntrySize) {
    uint16_t tag = 0;
    std::memcpy(&tag, &value[at], sizeof tag);
    const size_t size = tag == kUser || tag == kGroup ? 8 : 4;
    const ByteView entry = value.subspan(at, size);
    disk.insert(disk.end(), entry.begin(), entry.end());
  }
  return disk;
}

Result<DiskXattr> disk_xattr(const Xattr& xattr) {
  for (const Prefix& prefix : kPrefixes) {
    const std::string_view name = xattr.name;
    if (prefix.is_whole_name ? name != prefix.text : !name.starts_with(prefix.text)) continue;
    DiskXattr disk{prefix.number, name.substr(prefix.text.size()), xattr.value};
    if (prefix.number == 2 || prefix.number == 3) {
      FR_TRY(disk.value, disk_acl(xattr));
    }
    return disk;
  }
  return fail(ErrorCode::kUnsupported, fmt::format("ext4 cannot store attribute {}", xattr.name));
}

uint32_t rotate_and_add(uint32_t hash, int shift, uint32_t more) {
  return std::rotl(hash, shift) ^ more;
}

uint32_t hash_of(const DiskXattr& xattr) {
  uint32_t hash = 0;
  for (const char c : xattr.name) hash = rotate_and_add(hash, 5, static_cast<unsigned char>(c));
  Buffer padded = xattr.value;
  padded.resize(xattr.value_size());
  for (size_t at = 0; at < padded.size(); at += 4) {
    uint32_t word = 0;
    std::memcpy(&word, &padded[at], sizeof word);
    hash = rotate_and_add(hash, 16, word);
  }
  return hash;
}

// Writes entries from `first_entry` on and their values from the end of `space`. Offsets of values
// are counted from `values_from`.
void write_xattrs(std::span<const DiskXattr> xattrs, MutableByteView space, size_t first_entry,
                  size_t values_from, bool is_hashed) {
  size_t entry_at = first_entry;
  size_t value_at = space.size();
  for (const DiskXattr& xattr : xattrs) {
    value_at -= xattr.value_size();
    ext2_ext_attr_entry entry{};
    entry.e_name_len = static_cast<uint8_t>(xattr.name.size());
    entry.e_name_index = xattr.prefix;
    entry.e_value_size = static_cast<uint32_t>(xattr.value.size());
    if (!xattr.value.empty()) entry.e_value_offs = static_cast<uint16_t>(value_at - values_from);
    if (is_hashed) entry.e_hash = hash_of(xattr);
    store(space, entry_at, entry);
    store_text(space, entry_at + sizeof entry, xattr.name);
    std::ranges::copy(xattr.value, space.begin() + static_cast<ptrdiff_t>(value_at));
    entry_at += xattr.entry_size();
  }
}

Buffer xattr_block(std::span<const DiskXattr> xattrs) {
  Buffer block(kBlockSize);
  write_xattrs(xattrs, block, sizeof(ext2_ext_attr_header), 0, true);
  ext2_ext_attr_header header{};
  header.h_magic = EXT2_EXT_ATTR_MAGIC;
  header.h_refcount = 1;
  header.h_blocks = 1;
  for (const DiskXattr& xattr : xattrs) {
    header.h_hash = rotate_and_add(header.h_hash, 16, hash_of(xattr));
  }
  store(block, 0, header);
  return block;
}

// --- inodes ---

uint16_t type_bits(InodeKind kind) {
  switch (kind) {
    case InodeKind::kRegular:
      return LINUX_S_IFREG;
    case InodeKind::kDirectory:
      return LINUX_S_IFDIR;
    case InodeKind::kSymlink:
      return LINUX_S_IFLNK;
    case InodeKind::kBlockDevice:
      return LINUX_S_IFBLK;
    case InodeKind::kCharDevice:
      return LINUX_S_IFCHR;
    case InodeKind::kFifo:
      return LINUX_S_IFIFO;
    case InodeKind::kWhiteout:
      break;
  }
  FR_ASSERT(false, "a whiteout has no inode");
  return 0;
}

struct DiskTime {
  uint32_t seconds, extra;
};

// Seconds have 34 bits, the upper two beside the nanoseconds: 1901 to 2446.
DiskTime disk_time(int64_t seconds, uint32_t nanoseconds) {
  constexpr int64_t kFirst = INT32_MIN;
  constexpr int64_t kLast = kFirst + (int64_t{1} << 34) - 1;
  seconds = std::clamp(seconds, kFirst, kLast);
  const auto low = static_cast<int32_t>(static_cast<uint32_t>(seconds));
  const auto epoch = static_cast<uint32_t>((seconds - low) >> 32) & 3;
  return {static_cast<uint32_t>(low), nanoseconds << 2 | epoch};
}

}  // namespace

uint32_t inode_seed(uint32_t file_system_seed, uint32_t number) {
  constexpr uint32_t kGeneration = 0;
  return crc32c(crc32c(file_system_seed, bytes_of(number)), bytes_of(kGeneration));
}

uint32_t extent_blocks(size_t run_count) {
  uint32_t blocks = 0;
  while (run_count > kInlineExtentsMax) {
    run_count = (run_count + kBlockExtentsMax - 1) / kBlockExtentsMax;
    blocks += static_cast<uint32_t>(run_count);
  }
  return blocks;
}

void write_extents(std::span<const Run> runs, uint32_t seed, uint32_t first_block,
                   MutableByteView root, std::span<const MutableByteView> blocks) {
  FR_ASSERT(blocks.size() == extent_blocks(runs.size()));
  uint16_t depth = 0;
  size_t next = 0;
  std::vector<Run> above;
  std::vector<Run> level;
  while (runs.size() > kInlineExtentsMax) {
    above.clear();
    for (size_t at = 0; at < runs.size(); at += kBlockExtentsMax) {
      const auto part = runs.subspan(at, std::min<size_t>(kBlockExtentsMax, runs.size() - at));
      const MutableByteView block = blocks[next];
      write_node(part, depth, kBlockExtentsMax, block);
      const size_t tail = kBlockSize - sizeof(ext3_extent_tail);
      store(block, tail, crc32c(seed, block.first(tail)));
      above.push_back({part.front().logical, first_block + static_cast<uint32_t>(next), 0});
      ++next;
    }
    level.swap(above);
    runs = level;
    ++depth;
  }
  write_node(runs, depth, kInlineExtentsMax, root);
}

Result<XattrRecords> encode_xattrs(std::span<const Xattr> xattrs) {
  constexpr size_t kEnd = 4;  // the zeroes after the last entry
  std::vector<DiskXattr> in_inode, in_block;
  size_t inode_size = sizeof(uint32_t) + kEnd;
  size_t block_size = sizeof(ext2_ext_attr_header) + kEnd;
  for (const Xattr& xattr : xattrs) {
    FR_TRY(DiskXattr disk, disk_xattr(xattr));
    if (inode_size + disk.size() <= kInodeXattrSize) {
      inode_size += disk.size();
      in_inode.push_back(std::move(disk));
      continue;
    }
    block_size += disk.size();
    if (block_size > kBlockSize) {
      return fail(ErrorCode::kTooLarge,
                  fmt::format("its attributes, with {} of {} bytes, take more than {} bytes",
                              xattr.name, xattr.value.size(), kBlockSize));
    }
    in_block.push_back(std::move(disk));
  }
  // The kernel searches a block in this order.
  const auto order = [](const DiskXattr& xattr) {
    return std::tuple(xattr.prefix, xattr.name.size(), xattr.name);
  };
  std::ranges::sort(in_block, {}, order);
  XattrRecords records;
  if (!in_inode.empty()) {
    records.in_inode.resize(kInodeXattrSize);
    store(records.in_inode, 0, uint32_t{EXT2_EXT_ATTR_MAGIC});
    write_xattrs(in_inode, records.in_inode, sizeof(uint32_t), sizeof(uint32_t), false);
  }
  if (!in_block.empty()) records.block = xattr_block(in_block);
  return records;
}

void seal_xattr_block(MutableByteView block, uint32_t file_system_seed, uint32_t block_number) {
  const uint64_t number = block_number;
  const uint32_t seed = crc32c(file_system_seed, bytes_of(number));
  store(block, offsetof(ext2_ext_attr_header, h_checksum), crc32c(seed, block));
}

uint8_t entry_type(InodeKind kind) {
  switch (kind) {
    case InodeKind::kRegular:
      return EXT2_FT_REG_FILE;
    case InodeKind::kDirectory:
      return EXT2_FT_DIR;
    case InodeKind::kSymlink:
      return EXT2_FT_SYMLINK;
    case InodeKind::kBlockDevice:
      return EXT2_FT_BLKDEV;
    case InodeKind::kCharDevice:
      return EXT2_FT_CHRDEV;
    case InodeKind::kFifo:
      return EXT2_FT_FIFO;
    case InodeKind::kWhiteout:
      break;
  }
  return EXT2_FT_UNKNOWN;
}

void write_entry(MutableByteView space, uint32_t inode, uint8_t type, std::string_view name) {
  store(space, 0, inode);
  store(space, 4, static_cast<uint16_t>(entry_size(name.size())));
  store(space, 6, static_cast<uint8_t>(name.size()));
  store(space, 7, type);
  store_text(space, 8, name);
}

void seal_directory_block(MutableByteView block, uint32_t last_entry, uint32_t seed) {
  store(block, last_entry + 4, static_cast<uint16_t>(kDirectoryCapacity - last_entry));
  ext2_dir_entry_tail tail{};
  tail.det_rec_len = sizeof tail;
  tail.det_reserved_name_len = EXT2_DIR_NAME_LEN_CSUM;
  tail.det_checksum = crc32c(seed, block.first(kDirectoryCapacity));
  store(block, kDirectoryCapacity, tail);
}

void write_inode(const InodeFields& fields, MutableByteView record) {
  ext2_inode_large inode{};
  std::memcpy(inode.i_block, record.data() + kContentOffset, kContentSize);
  inode.i_mode = type_bits(fields.kind) | fields.mode;
  inode.i_uid = static_cast<uint16_t>(fields.uid);
  inode.osd2.linux2.l_i_uid_high = static_cast<uint16_t>(fields.uid >> 16);
  inode.i_gid = static_cast<uint16_t>(fields.gid);
  inode.osd2.linux2.l_i_gid_high = static_cast<uint16_t>(fields.gid >> 16);
  inode.i_size = static_cast<uint32_t>(fields.size);
  inode.i_size_high = static_cast<uint32_t>(fields.size >> 32);
  inode.i_links_count = static_cast<uint16_t>(fields.link_count);
  const uint64_t sectors = fields.block_count * (kBlockSize / 512);
  inode.i_blocks = static_cast<uint32_t>(sectors);
  inode.osd2.linux2.l_i_blocks_hi = static_cast<uint16_t>(sectors >> 32);
  inode.i_file_acl = fields.xattr_block;
  if (fields.has_extents) inode.i_flags = EXT4_EXTENTS_FL;
  const DiskTime time = disk_time(fields.mtime_s, fields.mtime_ns);
  inode.i_atime = inode.i_ctime = inode.i_mtime = inode.i_crtime = time.seconds;
  inode.i_atime_extra = inode.i_ctime_extra = inode.i_mtime_extra = inode.i_crtime_extra =
      time.extra;
  inode.i_extra_isize = kExtraSize;
  store(record, 0, inode);
  std::ranges::copy(fields.xattrs, record.begin() + sizeof inode);
}

void write_device(uint32_t major, uint32_t minor, MutableByteView content) {
  constexpr uint32_t kOldMax = 255;
  if (major <= kOldMax && minor <= kOldMax) {
    store(content, 0, major << 8 | minor);
  } else {
    store(content, 4, (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12);
  }
}

void seal_inode(MutableByteView record, uint32_t seed) {
  const uint32_t checksum = crc32c(seed, record);
  store(record, offsetof(ext2_inode_large, osd2.linux2.l_i_checksum_lo),
        static_cast<uint16_t>(checksum));
  store(record, offsetof(ext2_inode_large, i_checksum_hi), static_cast<uint16_t>(checksum >> 16));
}

}  // namespace forerun::image::ext4
