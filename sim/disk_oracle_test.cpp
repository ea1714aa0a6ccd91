#include "sim/disk_oracle.h"

#include <gtest/gtest.h>

namespace forerun::sim {
namespace {

class DiskOracleTest : public testing::Test {
 protected:
  DiskOracleTest() : oracle(1, std::make_shared<Buffer>(64 * kKiB, std::byte{7})) {}

  DiskOracle::Write write(ByteRange range) {
    auto begun = oracle.begin_write(range, false);
    oracle.acknowledge(begun, false);
    return begun;
  }
  void flush() { oracle.acknowledge(oracle.begin_flush()); }
  bool accepts(ByteRange range, ByteView answer) {
    return !oracle.check(oracle.begin_read(range), answer).has_value();
  }

  static constexpr ByteRange kRange{1024, 1024};
  DiskOracle oracle;
  const Buffer image = Buffer(1024, std::byte{7});
  const Buffer zeroes = Buffer(1024);
};

TEST_F(DiskOracleTest, WantsTheImageWhereNothingWasWritten) {
  EXPECT_TRUE(accepts(kRange, image));
  EXPECT_FALSE(accepts(kRange, zeroes));
  EXPECT_FALSE(accepts({0, 512}, image));
}

TEST_F(DiskOracleTest, WantsTheLatestWrite) {
  const auto first = write(kRange);
  const auto second = write(kRange);
  EXPECT_TRUE(accepts(kRange, second.data));
  EXPECT_FALSE(accepts(kRange, first.data));
  EXPECT_FALSE(accepts(kRange, image));
  EXPECT_FALSE(accepts({2048, 1024}, second.data));
}

TEST_F(DiskOracleTest, ChecksPartsOfSectors) {
  const auto written = write(kRange);
  const ByteView part = ByteView(written.data).subspan(100, 700);
  EXPECT_TRUE(accepts({1124, 700}, part));
  EXPECT_FALSE(accepts({1125, 700}, part));
}

TEST_F(DiskOracleTest, TakesEitherBesideAWriteUnderWay) {
  const auto under_way = oracle.begin_write(kRange, false);
  EXPECT_TRUE(accepts(kRange, image));
  EXPECT_TRUE(accepts(kRange, under_way.data));
}

TEST_F(DiskOracleTest, TakesZeroesAfterATrim) {
  oracle.acknowledge(oracle.begin_write(kRange, true), false);
  EXPECT_TRUE(accepts(kRange, zeroes));
  EXPECT_FALSE(accepts(kRange, image));
}

TEST_F(DiskOracleTest, RefusesTheLossOfAFlushedWrite) {
  const auto old = write(kRange);
  const auto flushed = write(kRange);
  flush();
  const auto last = write(kRange);
  oracle.lose_power();
  EXPECT_FALSE(accepts(kRange, old.data));
  EXPECT_TRUE(accepts(kRange, last.data));
}

TEST_F(DiskOracleTest, TakesTheLossOfAnUnflushedWriteButNotItsReturn) {
  const auto flushed = write(kRange);
  flush();
  const auto lost = write(kRange);
  oracle.lose_power();
  EXPECT_TRUE(accepts(kRange, flushed.data));
  EXPECT_FALSE(accepts(kRange, lost.data));
}

TEST_F(DiskOracleTest, CoversWithAFlushOnlyWhatWasAcknowledgedBefore) {
  const auto before = write(kRange);
  const auto flush_sent = oracle.begin_flush();
  const auto after = write(kRange);
  oracle.acknowledge(flush_sent);
  oracle.lose_power();
  EXPECT_TRUE(accepts(kRange, before.data));
}

TEST_F(DiskOracleTest, CountsAWriteWithForceUnitAccessAsFlushed) {
  const auto durable = oracle.begin_write(kRange, false);
  oracle.acknowledge(durable, true);
  oracle.lose_power();
  EXPECT_FALSE(accepts(kRange, image));
  EXPECT_TRUE(accepts(kRange, durable.data));
}

TEST_F(DiskOracleTest, ListsWhatWasWritten) {
  write({0, 1024});
  write({1024, 512});
  write({4096, 512});
  EXPECT_EQ(oracle.written_ranges(), (std::vector<ByteRange>{{0, 1536}, {4096, 512}}));
}

}  // namespace
}  // namespace forerun::sim
