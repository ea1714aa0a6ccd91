#include "image/partitions.h"

#include <fmt/format.h>
#include <zlib.h>

#include "image/ext4_format.h"

namespace forerun::image {
namespace {

constexpr uint64_t kSectorSize = 512;
constexpr size_t kSignatureOffset = 510;
constexpr size_t kEntriesOffset = 446;
constexpr size_t kEntrySize = 16;
constexpr size_t kPrimaryMax = 4;
constexpr size_t kLogicalMax = 128;
constexpr uint64_t kGptTableMax = kMiB;

using Sector = std::array<std::byte, kSectorSize>;

std::unexpected<Error> corrupt(std::string what) {
  return fail(ErrorCode::kCorrupt, fmt::format("the partition table is malformed: {}", what));
}

uint64_t load_le(ByteView bytes, size_t offset, size_t size) {
  uint64_t value = 0;
  for (size_t i = size; i-- > 0;) value = value << 8 | std::to_integer<uint64_t>(bytes[offset + i]);
  return value;
}

uint32_t crc32_of(ByteView bytes) {
  return static_cast<uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

// Returns sectors as bytes; refuses what is empty or not on the disk.
Result<ByteRange> range_of(const DiskReader& disk, uint64_t first, uint64_t count) {
  if (count == 0 || !fits({first, count}, disk.size_bytes() / kSectorSize)) {
    return corrupt(fmt::format("a partition of {} sectors at {} is not within the disk's {}", count,
                               first, disk.size_bytes() / kSectorSize));
  }
  return ByteRange{first * kSectorSize, count * kSectorSize};
}

Status check_apart(std::vector<ByteRange> parts) {
  std::ranges::sort(parts, {}, &ByteRange::offset);
  const auto clash = std::ranges::adjacent_find(
      parts, [](const ByteRange& a, const ByteRange& b) { return a.overlaps(b); });
  if (clash == parts.end()) return {};
  return corrupt(fmt::format("two partitions overlap at byte {}", std::next(clash)->offset));
}

struct MbrEntry {
  uint8_t status = 0;
  uint8_t type = 0;
  uint64_t first = 0;
  uint64_t count = 0;

  bool is_empty() const { return type == 0 || count == 0; }
  bool is_extended() const { return type == 0x05 || type == 0x0f || type == 0x85; }
};

using MbrEntries = std::array<MbrEntry, kPrimaryMax>;

// Returns the four entries of a boot record; nothing if it is none, as the first sector of a file
// system without partitions.
std::optional<MbrEntries> parse_boot_record(ByteView sector) {
  if (load_le(sector, kSignatureOffset, 2) != 0xaa55) return std::nullopt;
  MbrEntries entries;
  for (size_t i = 0; i < kPrimaryMax; ++i) {
    const ByteView bytes = sector.subspan(kEntriesOffset + i * kEntrySize, kEntrySize);
    entries[i] = {static_cast<uint8_t>(load_le(bytes, 0, 1)),
                  static_cast<uint8_t>(load_le(bytes, 4, 1)), load_le(bytes, 8, 4),
                  load_le(bytes, 12, 4)};
    if ((entries[i].status & 0x7f) != 0) return std::nullopt;
  }
  return entries;
}

// Follows the chain of boot records in an extended partition. Each holds one logical partition,
// counted from its own sector, and the next record, counted from the extended partition.
Status add_logical(DiskReader& disk, const MbrEntry& extended, std::vector<ByteRange>& parts) {
  uint64_t at = 0;  // in the extended partition
  for (size_t i = 0; i < kLogicalMax; ++i) {
    Sector sector;
    FR_CHECK(disk.read((extended.first + at) * kSectorSize, sector));
    const auto entries = parse_boot_record(sector);
    if (!entries) return corrupt("the chain of logical partitions is broken");
    uint64_t next = 0;
    for (const MbrEntry& entry : *entries) {
      if (entry.is_empty()) continue;
      if (entry.is_extended()) {
        if (next == 0) next = entry.first;
        continue;
      }
      const uint64_t first = at + entry.first;
      if (!fits({first, entry.count}, extended.count)) {
        return corrupt("a logical partition leaves the extended one");
      }
      FR_TRY(const ByteRange part, range_of(disk, extended.first + first, entry.count));
      parts.push_back(part);
    }
    if (next == 0) return {};
    if (next >= extended.count) return corrupt("the chain of logical partitions leaves its own");
    at = next;
  }
  return fail(
      ErrorCode::kTooLarge,
      fmt::format("there are over {} logical partitions, or their chain is a ring", kLogicalMax));
}

Result<std::vector<ByteRange>> read_mbr(DiskReader& disk, const MbrEntries& entries) {
  std::vector<ByteRange> parts;
  std::vector<ByteRange> primary;  // with the extended ones
  for (const MbrEntry& entry : entries) {
    if (entry.is_empty()) continue;
    FR_TRY(const ByteRange part, range_of(disk, entry.first, entry.count));
    primary.push_back(part);
    if (!entry.is_extended()) parts.push_back(part);
  }
  FR_CHECK(check_apart(primary));
  for (const MbrEntry& entry : entries) {
    if (!entry.is_empty() && entry.is_extended()) FR_CHECK(add_logical(disk, entry, parts));
  }
  return parts;
}

struct GptHeader {
  uint64_t first_usable = 0;
  uint64_t last_usable = 0;
  uint64_t table_sector = 0;
  uint64_t entry_count = 0;
  uint64_t entry_size = 0;
  uint32_t table_crc = 0;
};

Result<GptHeader> parse_gpt_header(Sector sector) {
  constexpr size_t kHeaderSizeMin = 92;
  constexpr size_t kCrcOffset = 16;
  if (as_text(ByteView(sector).first(8)) != "EFI PART") {
    return corrupt("the MBR announces a GPT, but there is none");
  }
  const uint64_t size = load_le(sector, 12, 4);
  if (size < kHeaderSizeMin || size > kSectorSize) {
    return corrupt(fmt::format("the GPT's header has {} bytes", size));
  }
  const uint64_t crc = load_le(sector, kCrcOffset, 4);
  std::fill_n(sector.begin() + kCrcOffset, 4, std::byte{0});
  if (crc32_of(ByteView(sector).first(size)) != crc) {
    return corrupt("the checksum of the GPT's header is wrong");
  }
  if (load_le(sector, 24, 8) != 1) return corrupt("the GPT's header is not of this sector");
  GptHeader header{.first_usable = load_le(sector, 40, 8),
                   .last_usable = load_le(sector, 48, 8),
                   .table_sector = load_le(sector, 72, 8),
                   .entry_count = load_le(sector, 80, 4),
                   .entry_size = load_le(sector, 84, 4),
                   .table_crc = static_cast<uint32_t>(load_le(sector, 88, 4))};
  if (header.entry_size < 128 || !std::has_single_bit(header.entry_size)) {
    return corrupt(fmt::format("the GPT's entries have {} bytes", header.entry_size));
  }
  if (header.entry_count > kPartitionsMax ||
      header.entry_count * header.entry_size > kGptTableMax) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("the GPT has {} entries of {} bytes; the limit is {} in 1 MiB",
                            header.entry_count, header.entry_size, kPartitionsMax));
  }
  return header;
}

Result<std::vector<ByteRange>> read_gpt(DiskReader& disk) {
  if (disk.size_bytes() < 2 * kSectorSize) return corrupt("the disk ends before the GPT");
  Sector sector;
  FR_CHECK(disk.read(kSectorSize, sector));
  FR_TRY(const GptHeader header, parse_gpt_header(sector));
  const uint64_t table_size = header.entry_count * header.entry_size;
  if (header.table_sector < 2 || header.table_sector > disk.size_bytes() / kSectorSize ||
      !fits({header.table_sector * kSectorSize, table_size}, disk.size_bytes())) {
    return corrupt("the GPT's table is not within the disk");
  }
  Buffer table(table_size);
  FR_CHECK(disk.read(header.table_sector * kSectorSize, table));
  if (crc32_of(table) != header.table_crc) return corrupt("the checksum of the GPT is wrong");

  std::vector<ByteRange> parts;
  for (uint64_t i = 0; i < header.entry_count; ++i) {
    const ByteView entry = ByteView(table).subspan(i * header.entry_size, header.entry_size);
    if (all_zero(entry.first(16))) continue;  // no type: not in use
    const uint64_t first = load_le(entry, 32, 8);
    const uint64_t last = load_le(entry, 40, 8);
    if (first < header.first_usable || last > header.last_usable || last < first) {
      return corrupt(fmt::format("partition {} is outside what the GPT gives away", i + 1));
    }
    FR_TRY(const ByteRange part, range_of(disk, first, last - first + 1));
    parts.push_back(part);
  }
  return parts;
}

Result<bool> begins_as_ext4(DiskReader& disk, ByteRange part) {
  if (part.length < kSuperblockOffset + kSuperblockSize) return false;
  Buffer superblock(kSuperblockSize);
  FR_CHECK(disk.read(part.offset + kSuperblockOffset, superblock));
  return is_ext4(superblock);
}

}  // namespace

Result<std::vector<ByteRange>> find_partitions(DiskReader& disk) {
  constexpr uint8_t kProtective = 0xee;
  Sector sector;
  FR_CHECK(disk.read(0, sector));
  const auto entries = parse_boot_record(sector);
  if (!entries) return std::vector<ByteRange>{};
  const bool is_gpt =
      std::ranges::any_of(*entries, [](const MbrEntry& e) { return e.type == kProtective; });
  FR_TRY(std::vector<ByteRange> parts, is_gpt ? read_gpt(disk) : read_mbr(disk, *entries));
  FR_CHECK(check_apart(parts));
  return parts;
}

Result<std::vector<ByteRange>> find_ext4_parts(DiskReader& disk) {
  const ByteRange whole{0, disk.size_bytes()};
  FR_TRY(const bool is_whole, begins_as_ext4(disk, whole));
  if (is_whole) return std::vector{whole};
  FR_TRY(const std::vector<ByteRange> parts, find_partitions(disk));
  std::vector<ByteRange> found;
  for (const ByteRange& part : parts) {
    FR_TRY(const bool is_one, begins_as_ext4(disk, part));
    if (is_one) found.push_back(part);
  }
  return found;
}

}  // namespace forerun::image
