#include "disk/block_map.h"

#include <gtest/gtest.h>

#include "core/rng.h"

namespace forerun::disk {
namespace {

using Mark = BlockMap::Mark;

std::vector<BlockRun> runs_of(const BlockMap& map) {
  std::vector<BlockRun> runs;
  map.for_each_run([&](const BlockRun& run) { runs.push_back(run); });
  return runs;
}

TEST(BlockMap, BeginsAsBase) {
  const BlockMap map(100'000);

  EXPECT_EQ(map.state(99'999), BlockState::kBase);
  EXPECT_EQ(map.run_end(3, 100'000, BlockState::kBase), 100'000u);
  EXPECT_TRUE(runs_of(map).empty());
}

TEST(BlockMap, TakesEachChangeOnce) {
  BlockMap map(1000);
  map.set(10, 40, BlockState::kData, Mark::kDirty);
  map.set(20, 25, BlockState::kZero, Mark::kDirty);

  const std::vector<BlockRun> expected = {
      {10, 10, BlockState::kData}, {20, 5, BlockState::kZero}, {25, 15, BlockState::kData}};
  EXPECT_EQ(map.take_dirty(), expected);
  EXPECT_TRUE(map.take_dirty().empty());
  EXPECT_EQ(map.data_blocks(), 25u);
}

TEST(BlockMap, SettingTheSameStateIsNoChange) {
  BlockMap map(1000);
  map.set(10, 40, BlockState::kData, Mark::kDirty);
  map.take_dirty();

  map.set(15, 30, BlockState::kData, Mark::kDirty);

  EXPECT_TRUE(map.take_dirty().empty());
}

TEST(BlockMap, MarkedAgainIsTakenAgain) {
  BlockMap map(40'000);
  map.set(0, 40'000, BlockState::kZero, Mark::kDirty);
  map.set(100, 101, BlockState::kData, Mark::kDirty);
  const auto first = map.take_dirty();

  map.mark_dirty(first);

  EXPECT_EQ(map.take_dirty(), first);
}

TEST(BlockMap, WholePagesAndPartsOfThemAgreeWithANaiveMap) {
  constexpr uint64_t kBlocks = 3 * 16'384 + 77;
  BlockMap map(kBlocks);
  std::vector<BlockState> naive(kBlocks, BlockState::kBase), taken(kBlocks, BlockState::kBase);
  Rng rng(7);
  for (int round = 0; round < 60; ++round) {
    const bool whole = rng.chance(0.3);
    const uint64_t first = whole ? rng.below(4) * 16'384 : rng.below(kBlocks);
    const uint64_t end = std::min(kBlocks, first + (whole ? 16'384 : rng.between(1, 300)));
    const BlockState state = rng.chance(0.5) ? BlockState::kData : BlockState::kZero;
    map.set(first, end, state, Mark::kDirty);
    std::fill(naive.begin() + static_cast<ptrdiff_t>(first),
              naive.begin() + static_cast<ptrdiff_t>(end), state);
    if (rng.chance(0.2)) {
      for (const BlockRun& run : map.take_dirty()) {
        std::fill_n(taken.begin() + static_cast<ptrdiff_t>(run.first), run.count, run.state);
      }
      ASSERT_EQ(taken, naive) << "round " << round;
    }
  }
  std::vector<BlockState> seen(kBlocks, BlockState::kBase);
  map.for_each_run([&](const BlockRun& run) {
    std::fill_n(seen.begin() + static_cast<ptrdiff_t>(run.first), run.count, run.state);
  });
  EXPECT_EQ(seen, naive);
  EXPECT_EQ(map.data_blocks(), static_cast<uint64_t>(std::ranges::count(naive, BlockState::kData)));
}

TEST(BlockMap, TrimmedHugeDiskIsOneRun) {
  constexpr uint64_t kBlocks = (10ull << 40) / 4096;
  BlockMap map(kBlocks);

  map.set(0, kBlocks, BlockState::kZero, Mark::kDirty);

  const std::vector<BlockRun> expected = {{0, kBlocks, BlockState::kZero}};
  EXPECT_EQ(map.take_dirty(), expected);
  EXPECT_EQ(map.state(kBlocks - 1), BlockState::kZero);
}

}  // namespace
}  // namespace forerun::disk
