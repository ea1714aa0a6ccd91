#include "replay/block_cache.h"

#include <gmock/gmock.h>

namespace forerun::replay {
namespace {

TEST(BlockCache, TheLeastRecentlyUsedLeaves) {
  BlockCache cache(2);
  EXPECT_FALSE(cache.put({.number = 1}));
  EXPECT_FALSE(cache.put({.number = 2}));
  cache.touch(*cache.find(1));
  const auto left = cache.put({.number = 3, .is_prefetched = true});
  ASSERT_TRUE(left);
  EXPECT_EQ(left->number, 2U);
  EXPECT_EQ(cache.find(2), nullptr);
  EXPECT_NE(cache.find(1), nullptr);
  EXPECT_TRUE(cache.find(3)->is_prefetched);
  EXPECT_EQ(cache.put({.number = 4})->number, 1U);
  EXPECT_EQ(cache.put({.number = 5})->number, 3U);
}

TEST(BlockCache, HoldsNoMoreThanItMay) {
  BlockCache cache(7);
  for (uint64_t i = 0; i < 1000; ++i)
    if (!cache.find(i * i % 101)) cache.put({.number = i * i % 101});
  EXPECT_EQ(cache.size(), 7U);
}

TEST(BlockCache, OfOneBlockEachLeavesForTheNext) {
  BlockCache cache(1);
  cache.put({.number = 1});
  EXPECT_EQ(cache.put({.number = 2})->number, 1U);
  EXPECT_EQ(cache.put({.number = 3})->number, 2U);
}

}  // namespace
}  // namespace forerun::replay
