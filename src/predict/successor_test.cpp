#include "predict/successor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/rng.h"
#include "predict/testing.h"

namespace forerun::predict {
namespace {

using testing::IsEmpty;

struct SuccessorTest : testing::Test {
  std::shared_ptr<SuccessorStatistics> statistics = std::make_shared<SuccessorStatistics>();
  Nanos now = 1s;

  // Reads blocks one after the other, 10 ms apart. Returns what was said of the last.
  std::vector<Candidate> read(SuccessorModel& model, const std::vector<uint64_t>& blocks) {
    std::vector<Candidate> said;
    for (const uint64_t block : blocks) said = said_of(model, read_of(block, 1, now += 10ms));
    return said;
  }
};

TEST_F(SuccessorTest, SaysTheChainThatFollowedMoreThanOnce) {
  SuccessorModel model({.confidence_min = 0.4f}, statistics);
  EXPECT_THAT(read(model, {100, 500, 900, 50}), IsEmpty());
  for (int i = 0; i < 8; ++i) read(model, {100, 500, 900, 50});
  const auto said = read(model, {100});
  EXPECT_EQ(blocks_of(said), (std::set<uint64_t>{50, 100, 500, 900}));  // once around
  EXPECT_EQ(said[0].first_block, 500u);
  EXPECT_GT(said[0].confidence, said[1].confidence);
  EXPECT_LT(said[0].due, said[1].due);
}

TEST_F(SuccessorTest, SequentialReadsAndLongPausesAreNoJumps) {
  SuccessorModel model({}, statistics);
  for (int i = 0; i < 10; ++i) {
    read(model, {100, 101, 102});
    now += 60s;
  }
  model.on_end(kTimeZero + now);
  EXPECT_EQ(statistics->table(kComponent), nullptr);
}

TEST_F(SuccessorTest, WhatOneVmShowedServesAnother) {
  SuccessorModel first({}, statistics);
  for (int i = 0; i < 8; ++i) read(first, {100, 500, 900});
  SuccessorModel before({}, statistics);
  EXPECT_THAT(read(before, {100}), IsEmpty());
  first.on_end(kTimeZero + now);
  SuccessorModel second({}, statistics);
  EXPECT_TRUE(blocks_of(read(second, {100})).contains(500));
  auto other = read_of(100, 1, now);
  other.component = ComponentId{77};
  EXPECT_THAT(said_of(second, other), IsEmpty());
}

TEST_F(SuccessorTest, SaysNothingOfRandomReads) {
  SuccessorModel model({}, statistics);
  Rng rng(4);
  size_t said = 0;
  for (int i = 0; i < 3000; ++i) said += read(model, {rng.below(1 << 16)}).size();
  EXPECT_LT(said, 10u);
  EXPECT_LT(model.state_bytes(), 2'000'000u);
}

TEST_F(SuccessorTest, CountsAreHandedOverOnce) {
  SuccessorModel model({}, statistics);
  read(model, {100, 500});
  model.on_end(kTimeZero);
  model.on_end(kTimeZero);
  EXPECT_EQ(statistics->table(kComponent)->at(100).jumps, 1u);
}

TEST(Successors, AFrequentOneTakesThePlaceOfARareOne) {
  Successors successors;
  for (const uint64_t block : {1, 1, 2, 2, 3, 3}) successors.count(block);
  for (int i = 0; i < 20; ++i) successors.count(9);
  const auto has = [&](uint64_t block) {
    return std::any_of(successors.targets.begin(), successors.targets.end(),
                       [&](const auto& target) { return target.block == block; });
  };
  EXPECT_TRUE(has(9));
  for (int i = 0; i < 100'000; ++i) successors.count(9);
  EXPECT_LE(successors.jumps, 1000u);
}

TEST(SuccessorStatistics, StayWithinTheirLimits) {
  SuccessorStatistics statistics({.blocks_max = 10, .components_max = 2});
  SuccessorTable table;
  for (uint64_t block = 0; block < 100; ++block)
    for (uint64_t i = 0; i <= block; ++i) table[block].count(7);
  for (uint32_t component = 0; component < 3; ++component)
    statistics.learn(ComponentId{component}, table);
  EXPECT_EQ(statistics.table(ComponentId{0}), nullptr);
  EXPECT_EQ(statistics.table(ComponentId{2})->size(), 10u);
  EXPECT_EQ(statistics.table(ComponentId{2})->begin()->first, 90u);  // the most jumps
}

TEST(SuccessorStatistics, ComeBackAsTheyWereOrAreRefused) {
  SuccessorStatistics statistics, loaded;
  EXPECT_TRUE(statistics.save(kComponent).empty());
  SuccessorTable table;
  for (uint64_t block = 0; block < 20; ++block) table[block * 3].count(block);
  statistics.learn(kComponent, table);
  const Buffer saved = statistics.save(kComponent);
  ASSERT_TRUE(loaded.load(kComponent, saved));
  EXPECT_EQ(*loaded.table(kComponent), table);
  for (size_t i = 0; i < saved.size(); ++i) {
    Buffer bad = saved;
    bad[i] ^= std::byte{0x20};
    EXPECT_FALSE(loaded.load(kComponent, bad)) << i;
    EXPECT_FALSE(loaded.load(kComponent, ByteView(saved).first(i))) << i;
  }
  EXPECT_EQ(*loaded.table(kComponent), table);
  SuccessorStatistics small({.blocks_max = 19});
  EXPECT_EQ(small.load(kComponent, saved).error().code, ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace forerun::predict
