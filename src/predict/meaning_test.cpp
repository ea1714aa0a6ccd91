#include "predict/meaning.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "predict/replay.h"
#include "predict/testing.h"

namespace forerun::predict {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// A base, two services, and the metadata of three disks.
constexpr ComponentId kBase{1}, kWeb{2}, kStore{3};
constexpr ComponentId kWebDisk{10}, kStoreDisk{11}, kNewDisk{12};
constexpr uint32_t kEtc = 100, kUsr = 101, kDoc = 102, kWebFiles = 103, kStoreFiles = 104;

std::shared_ptr<const BlockSequence> metadata(std::vector<Meaning> meanings) {
  return make_block_sequence(1, {}, std::move(meanings));
}

// Nobody is the companion of a disk's metadata.
ReplayHistory new_history() {
  return ReplayHistory({}, [](ComponentId component) -> ComponentName {
    return component.value < 10 ? component.value : 0;
  });
}

TEST(Meaning, ATouchedBlockIsWhatItMeans) {
  const std::vector<Meaning> meanings{{0, kEtc, 1}, {0, kUsr, 1}, {1, kUsr, 1}, {2, kDoc, 1}};
  const std::vector<FirstTouch> boot{{1, 0.5f}, {0, 0.7f}, {9, 0.8f}};
  const auto touches = touches_by_name(boot, meanings);
  ASSERT_EQ(touches.size(), 2u);
  EXPECT_EQ(touches[0].block, kUsr);
  EXPECT_EQ(touches[0].time_s, 0.5f);
  EXPECT_EQ(touches[1].block, kEtc);
}

TEST(Meaning, ABlockIsAsLikelyAsWhatItMeansAndDueWithTheFirst) {
  const auto names =
      make_block_sequence(3, {{.block = kEtc, .support = 0.8f, .rank = 1, .time_s = 2},
                              {.block = kUsr, .support = 0.6f, .rank = 0, .time_s = 1},
                              {.block = kDoc, .support = 0.1f, .rank = 2, .time_s = 0.5f}});
  const std::vector<Meaning> meanings{{4, kEtc, 16},       {4, kUsr, 16}, {4, kDoc, 32},
                                      {5, kWebFiles, 250}, {6, kDoc, 10}, {6, kWebFiles, 240}};
  const auto blocks = blocks_of_names(*names, meanings);
  ASSERT_EQ(blocks->entries.size(), 1u);  // of the others nearly nothing is read
  EXPECT_EQ(blocks->entries[0].block, 4u);
  EXPECT_FLOAT_EQ(blocks->entries[0].support, (0.8f + 0.6f + 2 * 0.1f) / 4);
  EXPECT_EQ(blocks->entries[0].time_s, 1);  // an unlikely name does not say when
  EXPECT_EQ(blocks->boots, 3);
  EXPECT_EQ(blocks_of_names(*names, std::array{Meaning{5, kWebFiles, 250}}), nullptr);
}

TEST(Meaning, OneLongThingDoesNotHideTheOthers) {
  const auto names = make_block_sequence(1, {{.block = kEtc, .support = 0.9f}});
  const auto blocks =
      blocks_of_names(*names, std::array{Meaning{7, kEtc, 16}, Meaning{7, kDoc, 240}});
  ASSERT_NE(blocks, nullptr);
  EXPECT_FLOAT_EQ(blocks->entries[0].support, 0.9f / 3);
}

TEST(Meaning, OfANewDiskIsForeseenByWhatOtherDisksReadOfTheirs) {
  const auto web = metadata({{0, kEtc, 200}, {0, kWebFiles, 50}, {1, kUsr, 250}, {2, kDoc, 250}});
  const auto store =
      metadata({{0, kEtc, 250}, {1, kStoreFiles, 50}, {1, kUsr, 200}, {2, kDoc, 250}});
  ReplayHistory history = new_history();
  for (int boot = 0; boot < 2; ++boot) {
    history.merge(kWebDisk, std::array{kBase, kWeb, kWebDisk}, {{1, 1}, {0, 2}}, 10, web.get());
    history.merge(kStoreDisk, std::array{kBase, kStore, kStoreDisk}, {{0, 1}, {1, 3}}, 10,
                  store.get());
  }
  const std::array disk{kBase, kWeb, kStore, kNewDisk};
  const auto fresh = metadata(
      {{3, kDoc, 250}, {4, kUsr, 250}, {5, kWebFiles, 100}, {5, kStoreFiles, 100}, {6, kEtc, 250}});
  EXPECT_FALSE(history.knows(kNewDisk));
  EXPECT_EQ(history.foresee(kNewDisk, disk), nullptr);  // it does not say what it means
  const auto seen = history.foresee(kNewDisk, disk, fresh.get());
  ASSERT_NE(seen, nullptr);
  std::map<uint64_t, float> support;
  for (const SequenceEntry& entry : seen->entries) support[entry.block] = entry.support;
  EXPECT_FALSE(support.contains(3));
  for (const uint64_t block : {4, 5, 6}) EXPECT_GT(support[block], 0.8f) << block;
  // Without the store, its files are not read.
  const auto without = history.foresee(kNewDisk, std::array{kBase, kWeb, kNewDisk}, fresh.get());
  EXPECT_LT(without->entries[*without->find(5)].support, 0.7f);
}

TEST(Meaning, IsKeptOverARestartAndRefusedIfDamaged) {
  const auto one = metadata({{0, kEtc, 200}, {1, kUsr, 250}});
  ReplayHistory history = new_history(), later = new_history();
  EXPECT_TRUE(history.save_meanings().empty());
  EXPECT_FALSE(history.knows_meanings());
  history.merge(kWebDisk, std::array{kBase, kWeb}, {{1, 1}}, 10, one.get());
  EXPECT_TRUE(history.knows_meanings());
  Buffer saved = history.save_meanings();
  ASSERT_TRUE(later.load_meanings(saved).has_value());
  const std::array disk{kBase, kWeb};
  EXPECT_EQ(later.foresee(kNewDisk, disk, one.get())->entries,
            history.foresee(kNewDisk, disk, one.get())->entries);
  saved.back() ^= std::byte{1};
  EXPECT_FALSE(later.load_meanings(saved).has_value());
  EXPECT_TRUE(later.knows_meanings());
}

TEST(Meaning, IsLearnedFromABootAndSaidAtTheStartOfAnother) {
  const auto history = std::make_shared<ReplayHistory>(
      ReplayHistory::Options{},
      [](ComponentId component) -> ComponentName { return component == kComponent ? 0 : 7; });
  const auto old_disk = metadata({{0, kEtc, 200}, {1, kUsr, 250}});
  const auto new_disk = metadata({{5, kUsr, 250}, {6, kEtc, 200}});
  const auto boot = [&](const std::shared_ptr<const BlockSequence>& prior,
                        const std::vector<uint64_t>& blocks) {
    ReplayModel model({}, history, {kComponent}, {{kComponent, prior}});
    std::vector<Candidate> said;
    model.on_start(kTimeZero, said);
    EXPECT_EQ(model.coverage(kComponent), 0);  // it may be that much more is read
    for (const uint64_t block : blocks) said_of(model, read_of(block, 1, 1s));
    model.on_end(kTimeZero + 10s);
    return blocks_of(said);
  };
  EXPECT_THAT(boot(old_disk, {1}), IsEmpty());
  history->forget(kComponent);  // the next disk has other metadata
  EXPECT_THAT(boot(new_disk, {}), ElementsAre(5));
}

}  // namespace
}  // namespace forerun::predict
