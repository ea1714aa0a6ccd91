#include "image/partitions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "core/rng.h"
#include "image/memory_file.h"

namespace forerun::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint64_t kSector = 512;

ByteRange sectors(uint64_t first, uint64_t count) { return {first * kSector, count * kSector}; }

// A disk to write tables into.
struct Disk {
  explicit Disk(uint64_t count = 2048) : bytes(count * kSector) {}

  void put(uint64_t offset, uint64_t value, size_t size) {
    for (size_t i = 0; i < size; ++i) bytes[offset + i] = static_cast<std::byte>(value >> 8 * i);
  }
  void put(uint64_t offset, std::string_view text) {
    std::ranges::copy(as_bytes(text), bytes.begin() + static_cast<ptrdiff_t>(offset));
  }
  uint32_t crc(uint64_t offset, size_t size) const {
    return static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(&bytes[offset]), size));
  }
  void boot_record(uint64_t sector = 0) { put(sector * kSector + 510, 0xaa55, 2); }
  void entry(uint64_t sector, size_t slot, uint8_t type, uint64_t first, uint64_t count) {
    boot_record(sector);
    const uint64_t at = sector * kSector + 446 + slot * 16;
    put(at + 4, type, 1);
    put(at + 8, first, 4);
    put(at + 12, count, 4);
  }
  void gpt_entry(size_t slot, uint64_t first, uint64_t last) {
    const uint64_t at = 2 * kSector + slot * 128;
    put(at, 0x0fc63daf, 4);
    put(at + 32, first, 8);
    put(at + 40, last, 8);
  }
  // Writes the header for what stands in the table.
  void gpt_header(uint64_t count = 128, uint64_t entry_size = 128, uint64_t table = 2) {
    entry(0, 0, 0xee, 1, bytes.size() / kSector - 1);
    put(kSector, "EFI PART");
    put(kSector + 12, 92, 4);
    put(kSector + 16, 0, 4);
    put(kSector + 24, 1, 8);
    put(kSector + 40, 34, 8);
    put(kSector + 48, bytes.size() / kSector - 34, 8);
    put(kSector + 72, table, 8);
    put(kSector + 80, count, 4);
    put(kSector + 84, entry_size, 4);
    put(kSector + 88, crc(2 * kSector, std::min<uint64_t>(count, 128) * 128), 4);
    put(kSector + 16, crc(kSector, 92), 4);
  }
  void ext4_magic(uint64_t offset) { put(offset + 1024 + 56, 0xef53, 2); }

  template <typename Find>
  Result<std::vector<ByteRange>> find(Find with) const {
    MemoryFile file(bytes);
    FR_TRY(const auto reader, open_disk(file, "disk.raw", DiskFormat::kRaw));
    return with(*reader);
  }
  std::vector<ByteRange> partitions() const {
    auto found = find(find_partitions);
    EXPECT_TRUE(found) << found.error().message;
    return found.value_or(std::vector<ByteRange>{});
  }
  Error error() const {
    const auto found = find(find_partitions);
    return found ? Error{} : found.error();
  }

  Buffer bytes;
};

TEST(Partitions, NoneWithoutATable) { EXPECT_THAT(Disk().partitions(), IsEmpty()); }

TEST(Partitions, NoneInABootSectorOfCode) {
  Disk disk;
  disk.boot_record();
  disk.put(446, 0x6f, 1);  // no partition has this status
  EXPECT_THAT(disk.partitions(), IsEmpty());
}

TEST(Partitions, ReadsMbrInOrderOfTheTable) {
  Disk disk;
  disk.entry(0, 0, 0x83, 1000, 100);
  disk.entry(0, 2, 0x82, 64, 200);
  EXPECT_THAT(disk.partitions(), ElementsAre(sectors(1000, 100), sectors(64, 200)));
}

TEST(Partitions, FollowsLogicalPartitions) {
  Disk disk;
  disk.entry(0, 0, 0x83, 8, 92);
  disk.entry(0, 1, 0x05, 100, 900);
  disk.entry(100, 0, 0x83, 2, 50);
  disk.entry(100, 1, 0x05, 200, 100);
  disk.entry(300, 0, 0x83, 4, 60);
  EXPECT_THAT(disk.partitions(), ElementsAre(sectors(8, 92), sectors(102, 50), sectors(304, 60)));
}

TEST(Partitions, RefusesARingOfLogicalPartitions) {
  Disk disk;
  disk.entry(0, 0, 0x05, 100, 900);
  disk.entry(100, 1, 0x05, 200, 100);
  disk.entry(300, 1, 0x05, 200, 100);
  EXPECT_EQ(disk.error().code, ErrorCode::kTooLarge);
}

TEST(Partitions, RefusesLogicalPartitionsOutsideTheirOwn) {
  Disk disk;
  disk.entry(0, 0, 0x05, 100, 100);
  disk.entry(100, 0, 0x83, 50, 51);
  EXPECT_THAT(disk.error().message, HasSubstr("leaves the extended one"));
}

TEST(Partitions, RefusesPartitionsOutsideTheDisk) {
  Disk disk;
  disk.entry(0, 0, 0x83, 2000, 49);
  EXPECT_EQ(disk.error().code, ErrorCode::kCorrupt);
  disk.entry(0, 0, 0x83, 0xffffffff, 0xffffffff);
  EXPECT_THAT(disk.error().message, HasSubstr("not within the disk"));
}

TEST(Partitions, RefusesOverlaps) {
  Disk disk;
  disk.entry(0, 0, 0x83, 100, 100);
  disk.entry(0, 1, 0x83, 199, 100);
  EXPECT_THAT(disk.error().message, HasSubstr("overlap"));
}

TEST(Partitions, ReadsGpt) {
  Disk disk;
  disk.gpt_entry(0, 1000, 1099);
  disk.gpt_entry(5, 34, 34);
  disk.gpt_header();
  EXPECT_THAT(disk.partitions(), ElementsAre(sectors(1000, 100), sectors(34, 1)));
}

TEST(Partitions, RefusesAGptWithWrongChecksums) {
  Disk disk;
  disk.gpt_entry(0, 1000, 1099);
  disk.gpt_header();
  Disk table = disk;
  table.put(2 * kSector + 40, 1200, 8);
  EXPECT_THAT(table.error().message, HasSubstr("checksum of the GPT is wrong"));
  disk.put(kSector + 48, 5000, 8);
  EXPECT_THAT(disk.error().message, HasSubstr("checksum of the GPT's header"));
}

TEST(Partitions, RefusesAGptThatIsNotThere) {
  Disk disk;
  disk.entry(0, 0, 0xee, 1, 2047);
  EXPECT_THAT(disk.error().message, HasSubstr("there is none"));
}

TEST(Partitions, RefusesAbsurdGpts) {
  Disk disk;
  disk.gpt_header(0xffffffff);
  EXPECT_EQ(disk.error().code, ErrorCode::kTooLarge);
  disk.gpt_header(128, 64);
  EXPECT_EQ(disk.error().code, ErrorCode::kCorrupt);
  disk.gpt_header(128, 128, 0xffffffffffffffff);
  EXPECT_EQ(disk.error().code, ErrorCode::kCorrupt);
}

TEST(Partitions, RefusesGptPartitionsThatLeaveItOrOverlap) {
  Disk outside;
  outside.gpt_entry(0, 34, 0xffffffffffffffff);
  outside.gpt_header();
  EXPECT_EQ(outside.error().code, ErrorCode::kCorrupt);
  Disk turned;
  turned.gpt_entry(0, 100, 50);
  turned.gpt_header();
  EXPECT_EQ(turned.error().code, ErrorCode::kCorrupt);
  Disk overlap;
  overlap.gpt_entry(0, 100, 200);
  overlap.gpt_entry(1, 200, 300);
  overlap.gpt_header();
  EXPECT_THAT(overlap.error().message, HasSubstr("overlap"));
}

TEST(Partitions, FindsExt4OnTheWholeDisk) {
  Disk disk;
  disk.ext4_magic(0);
  const auto found = disk.find(find_ext4_parts);
  ASSERT_TRUE(found);
  EXPECT_THAT(*found, ElementsAre(sectors(0, 2048)));
}

TEST(Partitions, FindsExt4InPartitions) {
  Disk disk;
  disk.gpt_entry(0, 34, 99);
  disk.gpt_entry(1, 100, 199);
  disk.gpt_entry(2, 200, 203);
  disk.gpt_header();
  disk.ext4_magic(100 * kSector);
  disk.ext4_magic(200 * kSector);
  const auto found = disk.find(find_ext4_parts);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_THAT(*found, ElementsAre(sectors(100, 100), sectors(200, 4)));
}

TEST(Partitions, SurvivesFlippedBytes) {
  Disk mbr;
  mbr.entry(0, 0, 0x83, 8, 92);
  mbr.entry(0, 1, 0x05, 100, 900);
  mbr.entry(100, 0, 0x83, 2, 50);
  mbr.entry(100, 1, 0x05, 200, 100);
  mbr.entry(300, 0, 0x83, 4, 60);
  Rng rng(7);
  size_t read = 0;
  for (int i = 0; i < 300; ++i) {
    Disk flipped = mbr;
    const uint64_t sector = std::array{0, 100, 300}[rng.below(3)];
    flipped.bytes[sector * kSector + 446 + rng.below(66)] ^= static_cast<std::byte>(rng.below(256));
    const auto found = flipped.find(find_partitions);
    if (!found) continue;
    ++read;
    for (const ByteRange& part : *found) EXPECT_TRUE(fits(part, flipped.bytes.size()));
  }
  EXPECT_GT(read, 0u);
  EXPECT_LT(read, 300u);
}

}  // namespace
}  // namespace forerun::image
