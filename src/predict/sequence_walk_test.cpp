#include "predict/sequence_walk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "predict/testing.h"

namespace forerun::predict {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr Time kStart = kTimeZero + 100s;
constexpr ComponentId kOther{2};

// Blocks first, first + 2, …, a second apart.
std::shared_ptr<const BlockSequence> every_second(uint64_t first, uint32_t count,
                                                  float from_s = 0) {
  std::vector<SequenceEntry> entries;
  for (uint32_t i = 0; i < count; ++i) {
    const auto rank = static_cast<float>(i);
    entries.push_back({first + 2 * i, 0.75f, rank, from_s + rank});
  }
  return make_block_sequence(1, std::move(entries));
}

SequenceWalk::Word its_support(ComponentId, const BlockSequence&, const SequenceEntry& entry) {
  return {entry.support, 3};
}

std::vector<uint64_t> in_order(const std::vector<Candidate>& said) {
  std::vector<uint64_t> blocks;
  for (const Candidate& run : said)
    for (uint32_t i = 0; i < run.block_count; ++i) blocks.push_back(run.first_block + i);
  return blocks;
}

std::vector<uint64_t> said_at_touch(SequenceWalk& walk, uint64_t block, Time now) {
  std::vector<Candidate> said;
  walk.touch(kComponent, block, now, said);
  return in_order(said);
}

TEST(SequenceWalk, MergesItsComponentsByTime) {
  SequenceWalk walk({}, its_support);
  walk.add(kComponent, every_second(0, 3));
  walk.add(kOther, every_second(100, 2, 0.5f));
  walk.add(kOther, every_second(500, 2));  // known already
  std::vector<Candidate> said;
  walk.start(kStart, said);
  EXPECT_THAT(in_order(said), ElementsAre(0, 100, 2, 102, 4));
  EXPECT_EQ(said[1].component, kOther);
  EXPECT_EQ(said[1].due, kStart + 500ms);
  EXPECT_EQ(said[1].context, 3);
  EXPECT_FLOAT_EQ(said[1].confidence, 0.75f);
}

TEST(SequenceWalk, SaysAdjacentBlocksOfOneMomentAsOneRun) {
  SequenceWalk walk({}, its_support);
  walk.add(kComponent,
           make_block_sequence(
               1, {{7, 0.8f, 0, 1}, {8, 0.8f, 1, 1}, {9, 0.8f, 2, 5}, {10, 0.2f, 3, 5}}));
  std::vector<Candidate> said;
  walk.start(kStart, said);
  ASSERT_EQ(said.size(), 3u);
  EXPECT_EQ(said[0].block_count, 2u);
}

TEST(SequenceWalk, WithoutASequenceItIsSilent) {
  SequenceWalk walk({}, its_support);
  walk.add(kComponent, nullptr);
  EXPECT_TRUE(walk.is_empty());
  EXPECT_FALSE(walk.knows(kComponent, 0));
  std::vector<Candidate> said;
  walk.start(kStart, said);
  walk.touch(kComponent, 0, kStart + 1s, said);
  EXPECT_THAT(said, IsEmpty());
}

TEST(SequenceWalk, SaysNoMoreThanMayStandUnconfirmed) {
  SequenceWalk walk({.unconfirmed_max = 3}, its_support);
  walk.add(kComponent, every_second(0, 10));
  std::vector<Candidate> said;
  walk.start(kStart, said);
  EXPECT_THAT(in_order(said), ElementsAre(0, 2, 4));
  EXPECT_THAT(said_at_touch(walk, 77, kStart + 1s), IsEmpty());  // confirms nothing
  EXPECT_THAT(said_at_touch(walk, 2, kStart + 1s), ElementsAre(6));
  EXPECT_THAT(said_at_touch(walk, 12, kStart + 1s), IsEmpty());  // it was not said
  EXPECT_THAT(said_at_touch(walk, 0, kStart + 1s), ElementsAre(8));
  EXPECT_THAT(said_at_touch(walk, 4, kStart + 1s), ElementsAre(10));
  EXPECT_THAT(said_at_touch(walk, 6, kStart + 1s), ElementsAre(14));  // 12 was touched meanwhile
}

TEST(SequenceWalk, WhatIsSaidLaterIsDueAtTheGuestsPace) {
  SequenceWalk walk({.unconfirmed_max = 60}, its_support);
  walk.add(kComponent, every_second(0, 100));
  std::vector<Candidate> said;
  walk.start(kStart, said);
  for (uint64_t i = 1; i < 40; ++i) {
    said.clear();
    walk.touch(kComponent, 2 * i, kStart + i * 3s, said);  // three times slower
  }
  ASSERT_EQ(in_order(said), std::vector<uint64_t>{196});  // the 98th second
  EXPECT_NEAR(to_seconds(said[0].due - kStart), 98 * walk.pace(), 0.01);
  EXPECT_GT(walk.pace(), 2.5);
}

TEST(SequenceWalk, SaysWhatFollowsAJumpSooner) {
  SequenceWalk walk({.ahead_blocks = 4, .jump_blocks = 8}, its_support);
  walk.add(kComponent, every_second(0, 100));
  std::vector<Candidate> said;
  walk.start(kStart, said);
  EXPECT_THAT(said_at_touch(walk, 8, kStart + 1s), IsEmpty());  // near enough
  said.clear();
  walk.touch(kComponent, 100, kStart + 1s, said);
  EXPECT_THAT(in_order(said), ElementsAre(102, 104, 106, 108));
  EXPECT_LT(said[0].due, kStart + 3s);
}

TEST(SequenceWalk, AComponentFoundLateIsDueFromThere) {
  SequenceWalk walk({}, its_support);
  std::vector<Candidate> said;
  walk.start(kStart, said);
  walk.add_late(kComponent, every_second(0, 5), kStart + 2s, said);
  EXPECT_THAT(in_order(said), ElementsAre(0, 2, 4, 6, 8));
  EXPECT_EQ(said[0].due, kStart + 2s);
  EXPECT_EQ(said[4].due, kStart + 4s);
}

}  // namespace
}  // namespace forerun::predict
