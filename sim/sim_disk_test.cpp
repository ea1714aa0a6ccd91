#include "sim/sim_disk.h"

#include <gtest/gtest.h>

#include <set>

namespace forerun::sim {
namespace {

Buffer filled(size_t size, uint8_t value) { return Buffer(size, static_cast<std::byte>(value)); }

std::unique_ptr<StorageFile> open(SimFolder& folder, const std::string& name = "f") {
  auto file = folder.open(name, true);
  EXPECT_TRUE(file.has_value());
  return std::move(*file);
}

Buffer read(StorageFile& file, uint64_t offset, size_t size) {
  Buffer out(size);
  EXPECT_TRUE(file.read(offset, out).has_value());
  return out;
}

TEST(SimDisk, ReadsWhatWasWrittenAndZeroesPastTheEnd) {
  SimFolder folder(1);
  auto file = open(folder);
  ASSERT_TRUE(file->write(700, filled(100, 7)).has_value());
  EXPECT_EQ(read(*file, 700, 100), filled(100, 7));
  EXPECT_EQ(read(*file, 0, 700), filled(700, 0));
  EXPECT_EQ(read(*file, 800, 5000), filled(5000, 0));
  EXPECT_EQ(file->size().value(), 800u);
}

TEST(SimDisk, KeepsWhatWasFlushedThroughACut) {
  SimFolder folder(2);
  {
    auto file = open(folder);
    ASSERT_TRUE(file->write(0, filled(8192, 9)).has_value());
    ASSERT_TRUE(file->flush().has_value());
  }
  folder.power_cut();
  EXPECT_EQ(read(*open(folder), 0, 8192), filled(8192, 9));
}

TEST(SimDisk, KeepsARandomSubsetOfUnflushedSectors) {
  SimFolder folder(3);
  auto file = open(folder);
  ASSERT_TRUE(file->write(0, filled(64 * kSectorSize, 1)).has_value());
  ASSERT_TRUE(file->flush().has_value());
  ASSERT_TRUE(file->write(0, filled(64 * kSectorSize, 2)).has_value());
  ASSERT_TRUE(file->write(0, filled(64 * kSectorSize, 3)).has_value());
  folder.power_cut();
  file = open(folder);
  std::set<Buffer> seen;
  for (size_t sector = 0; sector < 64; ++sector) {
    seen.insert(read(*file, sector * kSectorSize, kSectorSize));
  }
  EXPECT_EQ(seen, (std::set<Buffer>{filled(kSectorSize, 1), filled(kSectorSize, 2),
                                    filled(kSectorSize, 3)}));
  EXPECT_GT(folder.stats().sectors_lost, 0u);
}

TEST(SimDisk, TearsSectorsWhereAsked) {
  SimFolder folder(4, {.torn_sector = 1.0});
  auto file = open(folder);
  ASSERT_TRUE(file->write(0, filled(64 * kSectorSize, 1)).has_value());
  ASSERT_TRUE(file->flush().has_value());
  ASSERT_TRUE(file->write(0, filled(64 * kSectorSize, 2)).has_value());
  folder.power_cut();
  const Buffer after = read(*open(folder), 0, 64 * kSectorSize);
  size_t torn = 0;
  for (size_t sector = 0; sector < 64; ++sector) {
    torn += after[sector * kSectorSize] != after[(sector + 1) * kSectorSize - 1];
  }
  EXPECT_GT(torn, 10u);
}

TEST(SimDisk, LosesOrKeepsAnUnflushedCreationAndResize) {
  size_t kept = 0, grown = 0;
  for (uint64_t seed = 0; seed < 64; ++seed) {
    SimFolder folder(seed);
    auto old = open(folder, "old");
    ASSERT_TRUE(old->flush().has_value());
    ASSERT_TRUE(old->resize(4096).has_value());
    open(folder, "new");
    folder.power_cut();
    kept += folder.exists("new");
    grown += open(folder, "old")->size().value() == 4096;
  }
  EXPECT_GT(kept, 10u);
  EXPECT_LT(kept, 54u);
  EXPECT_GT(grown, 10u);
  EXPECT_LT(grown, 54u);
}

TEST(SimDisk, NeverBringsBackWhatLayBeforeASurvivingTruncation) {
  for (uint64_t seed = 0; seed < 64; ++seed) {
    SimFolder folder(seed);
    auto file = open(folder);
    ASSERT_TRUE(file->write(0, filled(4 * kSectorSize, 1)).has_value());
    ASSERT_TRUE(file->flush().has_value());
    ASSERT_TRUE(file->resize(0).has_value());
    ASSERT_TRUE(file->resize(2 * kSectorSize).has_value());
    folder.power_cut();
    file = open(folder);
    const uint64_t size = file->size().value();
    const Buffer expected = size == 4 * kSectorSize ? filled(size, 1) : filled(size, 0);
    EXPECT_EQ(read(*file, 0, size), expected) << "seed " << seed;
  }
}

TEST(SimDisk, ReplacesAtomicallyAndDurably) {
  SimFolder folder(5);
  auto old = open(folder, "a");
  ASSERT_TRUE(old->write(0, filled(10, 1)).has_value());
  ASSERT_TRUE(old->flush().has_value());
  auto fresh = open(folder, "a.new");
  ASSERT_TRUE(fresh->write(0, filled(10, 2)).has_value());
  ASSERT_TRUE(fresh->flush().has_value());
  ASSERT_TRUE(folder.replace("a.new", "a").has_value());
  folder.power_cut();
  EXPECT_EQ(folder.names(), std::vector<std::string>{"a"});
  EXPECT_EQ(read(*open(folder, "a"), 0, 10), filled(10, 2));
}

TEST(SimDisk, KillsFilesOpenedBeforeTheCut) {
  SimFolder folder(6);
  auto file = open(folder);
  ASSERT_TRUE(file->flush().has_value());
  folder.power_cut();
  EXPECT_EQ(file->write(0, filled(1, 1)).error().code, ErrorCode::kIo);
}

TEST(SimDisk, LosesPowerInsideAnOperation) {
  SimFolder folder(7);
  auto file = open(folder);
  ASSERT_TRUE(file->write(0, filled(512, 1)).has_value());
  folder.cut_after(1);
  ASSERT_TRUE(file->flush().has_value());
  EXPECT_FALSE(file->write(0, filled(512, 2)).has_value());
  EXPECT_TRUE(folder.is_off());
  EXPECT_FALSE(file->flush().has_value());
  folder.power_cut();
  EXPECT_FALSE(folder.is_off());
  EXPECT_EQ(read(*open(folder), 0, 512), filled(512, 1));
}

TEST(SimDisk, InjectsErrorsAtTheAskedRate) {
  SimFolder folder(8, {.read_error = 0.1, .write_error = 0.1, .flush_error = 0.1});
  auto file = open(folder);
  size_t failed = 0;
  Buffer out(512);
  for (int i = 0; i < 1000; ++i) {
    failed += !file->write(0, out).has_value();
    failed += !file->read(0, out).has_value();
    failed += !file->flush().has_value();
  }
  EXPECT_GT(failed, 200u);
  EXPECT_LT(failed, 400u);
  EXPECT_EQ(folder.stats().errors_injected, failed);
}

TEST(SimDisk, LosesDataAfterAFailedFlushThoughALaterOneSucceeds) {
  SimFolder folder(9);
  auto file = open(folder);
  ASSERT_TRUE(file->flush().has_value());
  folder.faults().flush_error = 1;
  ASSERT_TRUE(file->write(0, filled(64 * kSectorSize, 5)).has_value());
  ASSERT_FALSE(file->flush().has_value());
  folder.faults().flush_error = 0;
  ASSERT_TRUE(file->flush().has_value());
  EXPECT_EQ(read(*file, 0, 64 * kSectorSize), filled(64 * kSectorSize, 5));
  folder.power_cut();
  EXPECT_NE(read(*open(folder), 0, 64 * kSectorSize), filled(64 * kSectorSize, 5));
}

TEST(SimDisk, RefusesToGrowPastItsCapacity) {
  SimFolder folder(10, {.capacity_bytes = 8 * kSectorSize});
  auto file = open(folder);
  ASSERT_TRUE(file->write(0, filled(8 * kSectorSize, 1)).has_value());
  EXPECT_EQ(file->write(8 * kSectorSize, filled(1, 1)).error().code, ErrorCode::kNoSpace);
  ASSERT_TRUE(file->punch({0, 4 * kSectorSize}).has_value());
  EXPECT_TRUE(file->write(8 * kSectorSize, filled(1, 1)).has_value());
}

TEST(SimDisk, RotsAndMisdirects) {
  SimFolder folder(11);
  auto file = open(folder);
  ASSERT_TRUE(file->write(0, filled(64 * kSectorSize, 0)).has_value());
  ASSERT_TRUE(folder.rot_one_bit("f"));
  EXPECT_NE(read(*file, 0, 64 * kSectorSize), filled(64 * kSectorSize, 0));
  folder.faults().misdirected_write = 1;
  ASSERT_TRUE(file->write(0, filled(kSectorSize, 9)).has_value());
  EXPECT_EQ(folder.stats().writes_misdirected, 1u);
  folder.faults() = {.bit_rot = 1.0};
  read(*file, 0, 512);
  EXPECT_EQ(folder.stats().bits_rotted, 2u);
}

TEST(SimDisk, LiesAboutOneFlushInN) {
  SimFolder folder(12, {.lie_one_flush_in = 4});
  auto file = open(folder);
  for (int i = 0; i < 400; ++i) ASSERT_TRUE(file->flush().has_value());
  EXPECT_GT(folder.stats().flush_lies, 60u);
  EXPECT_LT(folder.stats().flush_lies, 140u);
}

TEST(SimDisk, ReplaysASeedExactly) {
  const auto run = [](uint64_t seed) {
    SimFolder folder(seed, {.write_error = 0.1, .torn_sector = 0.2});
    Buffer all;
    for (int round = 0; round < 5; ++round) {
      auto file = open(folder);
      for (int i = 0; i < 20; ++i) {
        (void)file->write(static_cast<uint64_t>(i) * 300,
                          filled(900, static_cast<uint8_t>(round * 20 + i)));
      }
      folder.power_cut();
      const Buffer now = read(*open(folder), 0, 7000);
      all.insert(all.end(), now.begin(), now.end());
    }
    return all;
  };
  EXPECT_EQ(run(77), run(77));
  EXPECT_NE(run(77), run(78));
}

}  // namespace
}  // namespace forerun::sim
