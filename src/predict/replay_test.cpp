#include "predict/replay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/rng.h"
#include "predict/testing.h"

namespace forerun::predict {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr Time kStart = kTimeZero + 100s;
constexpr std::array kDisk{kComponent};

std::shared_ptr<ReplayHistory> new_history() { return std::make_shared<ReplayHistory>(); }

// One boot that reads `blocks` in order, 100 ms apart. Returns what was said at its start.
std::vector<Candidate> boot(const std::shared_ptr<ReplayHistory>& history,
                            const std::vector<uint64_t>& blocks, Nanos apart = 100ms) {
  ReplayModel model({}, history, {kComponent});
  std::vector<Candidate> at_start, later;
  model.on_start(kStart, at_start);
  Time now = kStart;
  for (const uint64_t block : blocks) {
    now += apart;
    model.on_access(read_of(block, 1, now - kTimeZero), later);
  }
  model.on_end(now + 1s);
  return at_start;
}

std::vector<uint64_t> in_order(const std::vector<Candidate>& said) {
  std::vector<uint64_t> blocks;
  for (const Candidate& run : said)
    for (uint32_t i = 0; i < run.block_count; ++i) blocks.push_back(run.first_block + i);
  return blocks;
}

TEST(Replay, SaysNothingAtTheFirstBoot) { EXPECT_THAT(boot(new_history(), {5, 6, 7}), IsEmpty()); }

TEST(Replay, SaysTheWholeBootInOrderAtTheSecond) {
  const auto history = new_history();
  boot(history, {50, 7, 8, 9, 3});
  const auto said = boot(history, {});
  EXPECT_THAT(in_order(said), ElementsAre(50, 7, 8, 9, 3));
  EXPECT_EQ(said[1].block_count, 3u);  // adjacent in order: one run
  EXPECT_GT(said[0].confidence, 0.9f);
  EXPECT_NEAR(to_seconds(said[0].due - kStart), 0.1, 1e-6);
  EXPECT_NEAR(to_seconds(said.back().due - kStart), 0.5, 1e-3);
}

TEST(Replay, ConfidenceIsTheShareOfBootsAndOldBootsFade) {
  const auto history = new_history();
  boot(history, {1, 2});
  boot(history, {1});
  const auto once_missed = history->foresee(kComponent, kDisk);
  EXPECT_GT(once_missed->entries[0].support, 0.95f);
  EXPECT_NEAR(once_missed->entries[1].support, 0.5f, 0.1f);
  for (int i = 0; i < 20; ++i) boot(history, {1});
  EXPECT_EQ(history->foresee(kComponent, kDisk)->entries.size(), 1u);  // forgotten
}

TEST(Replay, ABootCutShortDoesNotUnlearnTheRest) {
  const auto history = new_history();
  boot(history, {1, 2, 3, 4}, 10s);
  boot(history, {1}, 10s);  // ends at 11 s, before the others were due
  const auto known = history->foresee(kComponent, kDisk);
  ASSERT_EQ(known->entries.size(), 4u);
  EXPECT_GT(known->entries[3].support, 0.95f);
}

TEST(Replay, MergesTwoBootsInEitherOrderAlike) {
  const auto one = new_history(), other = new_history();
  const std::vector<uint64_t> a{1, 2, 3, 10}, b{2, 1, 3, 20};
  boot(one, a);
  boot(one, b);
  boot(other, b);
  boot(other, a);
  EXPECT_EQ(one->foresee(kComponent, kDisk)->boots, other->foresee(kComponent, kDisk)->boots);
  for (const SequenceEntry& entry : one->foresee(kComponent, kDisk)->entries) {
    const auto index = other->foresee(kComponent, kDisk)->find(entry.block);
    ASSERT_TRUE(index.has_value());
    EXPECT_NEAR(other->foresee(kComponent, kDisk)->entries[*index].support, entry.support, 0.15f);
    EXPECT_NEAR(other->foresee(kComponent, kDisk)->entries[*index].rank, entry.rank, 0.5f);
  }
}

TEST(Replay, ServesTwoBootsAtOnce) {
  const auto history = new_history();
  boot(history, {1, 2, 3});
  ReplayModel first({}, history, {kComponent}), second({}, history, {kComponent});
  std::vector<Candidate> said_first, said_second;
  first.on_start(kStart, said_first);
  second.on_start(kStart + 1s, said_second);
  EXPECT_EQ(in_order(said_first), in_order(said_second));
  for (const uint64_t block : {1, 2, 3}) {
    first.on_access(read_of(block, 1, 101s), said_first);
    second.on_access(read_of(block, 1, 102s), said_second);
  }
  first.on_end(kStart + 10s);
  second.on_end(kStart + 10s);
  EXPECT_NEAR(history->foresee(kComponent, kDisk)->boots, 1 + 0.8 + 0.64, 1e-5);
}

TEST(Replay, SaysWhatFollowsAfterAJump) {
  const auto history = new_history();
  std::vector<uint64_t> blocks;
  for (uint64_t i = 0; i < 200; ++i) blocks.push_back(i * 2);
  boot(history, blocks);
  ReplayModel model({}, history, {kComponent});
  std::vector<Candidate> said;
  model.on_start(kStart, said);
  const auto jump = said_of(model, read_of(300, 1, 101s));
  const auto after = in_order(jump);
  ASSERT_EQ(after.size(), 32u);
  EXPECT_EQ(after[0], 302u);
  EXPECT_LE(jump[0].due, kTimeZero + 101s + 1s);                  // not the 15 s of the history
  EXPECT_THAT(said_of(model, read_of(302, 1, 101s)), IsEmpty());  // no jump: it follows
}

TEST(Replay, AdaptsToASlowerBoot) {
  const auto history = new_history();
  std::vector<uint64_t> blocks;
  for (uint64_t i = 0; i < 100; ++i) blocks.push_back(i * 3);
  boot(history, blocks);
  ReplayModel model({}, history, {kComponent});
  std::vector<Candidate> said;
  model.on_start(kStart, said);
  Time now = kStart;
  for (const uint64_t block : blocks)
    model.on_access(read_of(block, 1, (now += 300ms) - kTimeZero), said);
  EXPECT_NEAR(model.pace(), 3.0, 0.2);
}

TEST(Replay, ClaimsCoverageUntilTheBootGoesItsOwnWay) {
  const auto history = new_history();
  ReplayModel fresh({}, history, {kComponent});
  std::vector<Candidate> said;
  fresh.on_start(kStart, said);
  EXPECT_EQ(fresh.coverage(kComponent), 0.0f);
  boot(history, {1, 2, 3});
  ReplayModel model({}, history, {kComponent});
  model.on_start(kStart, said);
  EXPECT_GT(model.coverage(kComponent), 0.9f);
  for (uint64_t block = 1000; block < 1100; ++block) model.on_access(read_of(block, 1, 101s), said);
  EXPECT_LT(model.coverage(kComponent), 0.2f);
}

TEST(Replay, SaysAnUnannouncedComponentAtItsFirstTouch) {
  const auto history = new_history();
  boot(history, {1, 2, 3});
  ReplayModel model({}, history, {});
  std::vector<Candidate> said;
  model.on_start(kStart, said);
  EXPECT_THAT(said, IsEmpty());
  EXPECT_TRUE(blocks_of(said_of(model, read_of(1, 1, 101s))).contains(3));
}

TEST(Replay, LearnsNothingAfterItsWindow) {
  const auto history = new_history();
  ReplayModel model({.learning_window = 10s}, history, {kComponent});
  std::vector<Candidate> said;
  model.on_start(kStart, said);
  model.on_access(read_of(1, 1, 101s), said);
  model.on_access(read_of(2, 1, 115s), said);  // closes the window and merges
  EXPECT_EQ(history->foresee(kComponent, kDisk)->entries.size(), 1u);
  model.on_access(read_of(3, 1, 116s), said);
  model.on_end(kStart + 20s);
  EXPECT_EQ(history->foresee(kComponent, kDisk)->boots, 1.0f);
}

TEST(Replay, LearnsNothingOfAVmThatWasFoundRunning) {
  const auto history = new_history();
  ReplayModel model({}, history, {kComponent});
  said_of(model, read_of(1));
  model.on_end(kStart);
  EXPECT_EQ(history->foresee(kComponent, kDisk), nullptr);
}

// Two images taught it; their parts in one disk are foreseen as one boot, by time.
TEST(Replay, ForeseesADiskThatWasNeverComposedBefore) {
  const auto history = new_history();
  constexpr ComponentId kBase{10}, kWeb{11}, kData{12}, kMetadata{13};
  const auto boot_of = [&](ComponentId service, uint64_t of_base) {
    ReplayModel model({}, history, {kBase, service});
    std::vector<Candidate> said;
    model.on_start(kStart, said);
    auto at = kStart - kTimeZero;
    for (auto [component, block] :
         {std::pair{kBase, uint64_t{1}}, {kBase, of_base}, {service, 7}}) {
      auto access = read_of(block, 1, at += 1s);
      access.component = component;
      model.on_access(access, said);
    }
    model.on_end(kStart + 10s);
  };
  boot_of(kWeb, 40);
  boot_of(kData, 50);
  ReplayModel model({}, history, {kMetadata, kBase, kWeb, kData});
  std::vector<Candidate> said;
  model.on_start(kStart, said);
  std::vector<std::pair<ComponentId, uint64_t>> order;
  for (const Candidate& candidate : said) {
    EXPECT_GT(candidate.confidence, 0.55f);
    order.emplace_back(candidate.component, candidate.first_block);
  }
  EXPECT_THAT(order, ElementsAre(std::pair{kBase, 1}, std::pair{kBase, 40}, std::pair{kBase, 50},
                                 std::pair{kWeb, 7}, std::pair{kData, 7}));
  EXPECT_GT(model.coverage(kBase), 0.9f);
  EXPECT_EQ(model.coverage(kMetadata), 0);  // others may say what they know of it
}

TEST(ReplayHistory, StaysWithinItsLimits) {
  ReplayHistory history({.merge = {.blocks_max = 10}, .components_max = 2});
  std::vector<FirstTouch> boot;
  for (uint64_t block = 0; block < 100; ++block) boot.push_back({block, 1});
  for (uint32_t component = 0; component < 5; ++component)
    history.merge(ComponentId{component}, {}, boot);
  EXPECT_EQ(history.foresee(ComponentId{4}, {})->entries.size(), 10u);
  EXPECT_TRUE(history.knows(ComponentId{3}));
  EXPECT_FALSE(history.knows(ComponentId{2}));
}

}  // namespace
}  // namespace forerun::predict
