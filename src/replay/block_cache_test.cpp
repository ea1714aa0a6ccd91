#include "replay/block_cache.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <bit>

#include "core/rng.h"

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

TEST(BlockCache, AScanLeavesWhatIsUsedOftenToTheTiersPolicy) {
  for (const Eviction eviction : {Eviction::kLru, Eviction::kS3Fifo}) {
    BlockCache cache(200, eviction);
    const auto read = [&](uint64_t number) {
      if (const auto* block = cache.find(number))
        cache.touch(*block);
      else
        cache.put({.number = number});
    };
    for (int round = 0; round < 6; ++round)
      for (uint64_t number = 0; number < 100; ++number) read(number);
    for (uint64_t number = 1000; number < 2000; ++number) read(number);
    size_t kept = 0;
    for (uint64_t number = 0; number < 100; ++number) kept += cache.find(number) ? 1 : 0;
    EXPECT_EQ(cache.size(), 200U);
    EXPECT_EQ(std::popcount(cache.which_are_here(0, 64)), kept == 0 ? 0 : 64);
    EXPECT_EQ(kept, eviction == Eviction::kLru ? 0U : 100U);
  }
}

TEST(BlockCache, OfOneBlockEachLeavesForTheNext) {
  BlockCache cache(1);
  cache.put({.number = 1});
  EXPECT_EQ(cache.put({.number = 2})->number, 1U);
  EXPECT_EQ(cache.put({.number = 3})->number, 2U);
}

TEST(BlockCache, SaysWhichOfARunAreHere) {
  BlockCache cache(100);
  for (const uint64_t number : {9, 15, 16, 31, 40, 72}) cache.put({.number = number});
  EXPECT_EQ(cache.which_are_here(9, 64),
            1u | 1u << 6 | 1u << 7 | 1u << 22 | 1u << 31 | uint64_t{1} << 63);
  EXPECT_EQ(cache.which_are_here(10, 6), 1u << 5);
  EXPECT_EQ(cache.which_are_here(16, 16), 1u | 1u << 15);
  EXPECT_EQ(cache.which_are_here(41, 31), 0U);
  EXPECT_EQ(cache.which_are_here(40, 1), 1U);
}

// Against a list in order of use, dense and sparse.
TEST(BlockCache, AgreesWithAPlainList) {
  for (const uint64_t spread : {60, 100'000}) {
    Rng rng(spread);
    BlockCache cache(32);
    std::vector<uint64_t> used;  // the newest last
    for (int i = 0; i < 3000; ++i) {
      const uint64_t number = rng.below(spread);
      const auto known = std::find(used.begin(), used.end(), number);
      BlockCache::Block* block = cache.find(number);
      ASSERT_EQ(block != nullptr, known != used.end());
      if (block) {
        cache.touch(*block);
        used.erase(known);
      } else {
        const auto left = cache.put({.number = number});
        ASSERT_EQ(left.has_value(), used.size() == 32);
        if (left) {
          ASSERT_EQ(left->number, used.front());
          used.erase(used.begin());
        }
      }
      used.push_back(number);
      ASSERT_EQ(cache.size(), used.size());
    }
  }
}

}  // namespace
}  // namespace forerun::replay
