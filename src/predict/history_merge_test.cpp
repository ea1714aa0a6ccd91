#include <gmock/gmock.h>

#include "predict/replay.h"

namespace forerun::predict {
namespace {

const MergeOptions kOptions;
const std::vector<ComponentName> kAlone, kWithNginx = {11}, kWithRedis = {22};

std::vector<FirstTouch> boot_of(std::initializer_list<uint64_t> blocks) {
  std::vector<FirstTouch> boot;
  for (const uint64_t block : blocks) boot.push_back({block, static_cast<float>(boot.size())});
  return boot;
}

ComponentHistory history_of(const std::vector<ComponentName>& companions,
                            std::initializer_list<uint64_t> blocks, int boots = 1) {
  ComponentHistory history;
  for (int i = 0; i < boots; ++i) merge_boot(history, companions, boot_of(blocks), 100, kOptions);
  return history;
}

TEST(HistoryMerge, IntoNothingIsTheOther) {
  ComponentHistory history;
  const auto other = history_of(kWithNginx, {5, 3, 9}, 3);
  merge_history(history, other, kOptions);
  EXPECT_EQ(history, other);
}

TEST(HistoryMerge, OtherKindsOfBootsStandBesideOurs) {
  auto history = history_of(kWithNginx, {5, 3});
  merge_history(history, history_of(kWithRedis, {3, 7}), kOptions);
  ASSERT_EQ(history.kinds.size(), 2U);
  EXPECT_EQ(history.kinds[0].companions, kWithNginx);
  EXPECT_EQ(history.kinds[1].companions, kWithRedis);
  ASSERT_EQ(history.entries.size(), 3U);
  EXPECT_EQ(history.entries[0].block, 3U);
  EXPECT_EQ(history.entries[0].share[0], 255);
  EXPECT_EQ(history.entries[0].share[1], 255);
  EXPECT_EQ(history.entries[1].share[1], 0);  // 5: nginx alone
  EXPECT_EQ(history.entries[2].share[0], 0);  // 7: redis alone
}

TEST(HistoryMerge, TheSameKindCountsTheBootsOfBoth) {
  auto history = history_of(kAlone, {1, 2}, 1);
  merge_history(history, history_of(kAlone, {2, 3}, 1), kOptions);
  ASSERT_EQ(history.kinds.size(), 1U);
  EXPECT_FLOAT_EQ(history.kinds[0].boots, 2);
  ASSERT_EQ(history.entries.size(), 3U);
  EXPECT_EQ(history.entries[0].share[0], 128);
  EXPECT_EQ(history.entries[1].share[0], 255);
  EXPECT_EQ(history.entries[1].rank, 0.5f);  // second here, first there
  EXPECT_EQ(history.entries[2].share[0], 128);
}

TEST(HistoryMerge, BootsDoNotAddUpBeyondWhatOneHostWouldCount) {
  auto history = history_of(kAlone, {1, 2}, 1);
  const auto other = history_of(kAlone, {1, 2}, 4);
  for (int i = 0; i < 10; ++i) merge_history(history, other, kOptions);
  EXPECT_LE(history.boots(), 5.001f);
  EXPECT_EQ(history.entries[0].share[0], 255);
}

TEST(HistoryMerge, LimitsHold) {
  ComponentHistory history;
  for (ComponentName name = 1; name <= ComponentHistory::kKindsMax; ++name)
    merge_boot(history, {name}, boot_of({name}), 100, kOptions);
  merge_history(history, history_of({99}, {99}, 4), {.blocks_max = 8});
  EXPECT_EQ(history.kinds.size(), ComponentHistory::kKindsMax);
  EXPECT_EQ(history.kinds.back().companions, std::vector<ComponentName>{99});
  EXPECT_EQ(history.entries.size(), 8U);
  EXPECT_EQ(history.entries.back().block, 99U);
  EXPECT_EQ(parse_component_history(serialize(history)).value(), history);
}

TEST(HistoryMerge, OnlyWhatOneDiskTaughtIsTakenAlong) {
  auto history = history_of(kWithNginx, {5, 3});
  merge_boot(history, kWithRedis, boot_of({3, 7}), 100, kOptions);
  const auto own = only_beside(history, kWithRedis);
  ASSERT_EQ(own.kinds.size(), 1U);
  ASSERT_EQ(own.entries.size(), 2U);
  EXPECT_EQ(own.entries[0].block, 3U);
  EXPECT_EQ(own.entries[1].block, 7U);
  EXPECT_TRUE(only_beside(history, kAlone).kinds.empty());
}

TEST(HistoryMerge, AHostTakesUpWhatAnotherSaved) {
  const ComponentId component{1};
  ReplayHistory here, there;
  there.merge(component, std::vector{component}, boot_of({4, 8}));
  ASSERT_TRUE(here.merge_saved(component, there.save_of_disk(component, std::vector{component})));
  EXPECT_EQ(here.save(component), there.save(component));
  Buffer damaged = there.save(component);
  damaged[20] ^= std::byte{1};
  EXPECT_FALSE(here.merge_saved(component, damaged));
  EXPECT_EQ(here.save(component), there.save(component));
}

}  // namespace
}  // namespace forerun::predict
