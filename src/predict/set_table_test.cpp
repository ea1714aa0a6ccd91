#include "predict/set_table.h"

#include <gtest/gtest.h>

namespace forerun::predict {
namespace {

struct Entry {
  uint32_t hash = 0;
  uint16_t used_at = 0;
  uint16_t kept = 0;
  uint32_t value = 0;
  uint16_t worth() const { return kept; }
};
using Table = SetTable<Entry, 4>;

uint32_t hash_at(uint64_t block) { return hash_of({ComponentId{1}, block}); }

TEST(SetTable, FindsWhatWasInsertedAlsoAfterItGrew) {
  Table table(1 << 12);
  for (uint32_t i = 0; i < 1000; ++i) table.insert(hash_at(i), 0).value = i;
  uint32_t found = 0;
  for (uint32_t i = 0; i < 1000; ++i)
    if (const Entry* one = table.find(hash_at(i))) found += one->value == i ? 1 : 0;
  EXPECT_GT(found, 900U) << "a set may have been full before the table grew";
  EXPECT_EQ(found, table.size());
  EXPECT_EQ(table.find(hash_at(5000)), nullptr);
}

TEST(SetTable, HoldsNoMoreThanItMay) {
  Table table(64);
  for (uint32_t i = 0; i < 10'000; ++i) table.insert(hash_at(i), 0);
  EXPECT_LE(table.size(), 64U);
  EXPECT_EQ(table.entries_max(), 64U);
  size_t counted = 0;
  table.for_each([&](const Entry&) { ++counted; });
  EXPECT_EQ(counted, table.size());
  table.clear();
  EXPECT_EQ(table.size(), 0U);
}

TEST(SetTable, TheOneUnusedLongestLeavesUnlessItIsWorthMore) {
  Table table(4);  // one set
  for (uint16_t i = 0; i < 4; ++i) table.insert(hash_at(i), i);
  table.find(hash_at(0))->kept = 10;
  table.insert(hash_at(100), 5);
  EXPECT_EQ(table.find(hash_at(1)), nullptr);
  EXPECT_NE(table.find(hash_at(0)), nullptr);
  table.insert(hash_at(101), 30);  // its worth is used up meanwhile
  table.insert(hash_at(102), 31);
  table.insert(hash_at(103), 32);
  table.insert(hash_at(104), 33);
  EXPECT_EQ(table.find(hash_at(0)), nullptr);
}

TEST(PackedRun, KeepsWhatItIsMadeOf) {
  PackedRun run(PackedRun::kBlockMax, 300, 7);
  EXPECT_EQ(run.block(), PackedRun::kBlockMax);
  EXPECT_EQ(run.block_count(), 300U);
  EXPECT_EQ(run.count(), 7U);
  run.set_count(PackedRun::kCountMax);
  EXPECT_EQ(run.block(), PackedRun::kBlockMax);
  EXPECT_EQ(run.block_count(), 300U);
  EXPECT_EQ(run.count(), PackedRun::kCountMax);
  EXPECT_TRUE(run.is(PackedRun::kBlockMax));
  run.set_count(0);
  EXPECT_FALSE(run.is(PackedRun::kBlockMax));
}

}  // namespace
}  // namespace forerun::predict
