#include "predict/block_table.h"

#include <gtest/gtest.h>

#include <map>

#include "core/rng.h"

namespace forerun::predict {
namespace {

TEST(BlockTable, FindsWhatWasInserted) {
  BlockTable<int> table(10);
  table.insert({ComponentId{1}, 5}) = 7;
  EXPECT_EQ(*table.find({ComponentId{1}, 5}), 7);
  EXPECT_EQ(table.find({ComponentId{2}, 5}), nullptr);
  EXPECT_EQ(table.find({ComponentId{1}, 6}), nullptr);
}

TEST(BlockTable, SaysWhenItIsFull) {
  BlockTable<int> table(2);
  table.insert({ComponentId{1}, 1}) = 1;
  EXPECT_FALSE(table.full());
  table.insert({ComponentId{1}, 2}) = 2;
  EXPECT_TRUE(table.full());
  table.erase({ComponentId{1}, 1});
  EXPECT_FALSE(table.full());
}

// Against std::map over random inserts and erases, dense enough for long probe chains.
TEST(BlockTable, AgreesWithAMapOnRandomHistories) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    Rng rng(seed);
    BlockTable<uint64_t> table(1 << 12);
    std::map<std::pair<uint32_t, uint64_t>, uint64_t> expected;
    for (uint64_t step = 0; step < 2000; ++step) {
      const auto component = static_cast<uint32_t>(rng.below(3));
      const uint64_t block = rng.below(200);
      const BlockKey key{ComponentId{component}, block};
      if (rng.chance(0.5)) {
        table.insert(key) = step;
        expected[{component, block}] = step;
      } else {
        table.erase(key);
        expected.erase({component, block});
      }
      ASSERT_EQ(table.size(), expected.size());
    }
    for (uint32_t component = 0; component < 3; ++component) {
      for (uint64_t block = 0; block < 200; ++block) {
        const auto found = expected.find({component, block});
        const uint64_t* value = table.find({ComponentId{component}, block});
        ASSERT_EQ(value != nullptr, found != expected.end());
        if (value) ASSERT_EQ(*value, found->second);
      }
    }
  }
}

}  // namespace
}  // namespace forerun::predict
