#include "predict/word_odds.h"

#include <gtest/gtest.h>

#include "predict/testing.h"

namespace forerun::predict {
namespace {

constexpr ComponentId kDisk{1};

Candidate run_at(uint64_t block, uint32_t count = 1) {
  return {kDisk, block, count, 0.5f, 0, kTimeZero};
}

// A guest that reads blocks 0, 1, … so that the youngest block is the last.
WordOdds after_reads(uint64_t count) {
  WordOdds odds(2);
  for (uint64_t block = 0; block < count; ++block) odds.remember(read_of(block, 1), 0);
  return odds;
}

TEST(WordOddsTest, AWordIsWorthWhatItsCalibrationSaysUntilSomethingIsLearned) {
  const WordOdds odds(1);
  const auto traits = odds.traits_of(0, run_at(5), read_of(0, 1));
  for (const float said : {0.05f, 0.5f, 0.9f})
    EXPECT_NEAR(odds.probability(0, traits, said), said, 1e-5f);
  EXPECT_GT(odds.probability(0, traits, 0), 0);
  EXPECT_LT(odds.probability(0, traits, 1), 1);
}

TEST(WordOddsTest, TellsBlocksApartByHowLongAgoTheyWereRead) {
  const WordOdds odds = after_reads(1000);
  const auto at = read_of(5000, 1);
  const auto age = [&](uint64_t block) { return odds.traits_of(0, run_at(block), at).age; };
  EXPECT_EQ(age(999), 0);
  EXPECT_LT(age(999), age(900));
  EXPECT_LT(age(900), age(0));
  EXPECT_LT(age(0), age(4000));  // never
  EXPECT_EQ(age(4000), age(9000));
}

TEST(WordOddsTest, WritesAreRememberedAsReadsAre) {
  WordOdds odds = after_reads(1000);
  trace::Access write = read_of(3, 1);
  write.op = trace::Op::kWrite;
  odds.remember(write, 0);
  EXPECT_EQ(odds.traits_of(0, run_at(3), read_of(0, 1)).age, 0);
}

TEST(WordOddsTest, TellsSidesDistancesAndSizesApart) {
  const WordOdds odds(1);
  const auto at = read_of(1000, 1);
  EXPECT_NE(odds.traits_of(0, run_at(1004), at).distance,
            odds.traits_of(0, run_at(996), at).distance);
  EXPECT_NE(odds.traits_of(0, run_at(1004), at).distance,
            odds.traits_of(0, run_at(1400), at).distance);
  EXPECT_NE(odds.traits_of(0, run_at(5, 1), at).blocks, odds.traits_of(0, run_at(5, 9), at).blocks);
  EXPECT_LT(odds.traits_of(0, run_at(~uint64_t{0} >> 8, ~0u), at).blocks, 8);
}

TEST(WordOddsTest, LearnsOfWhichBlocksWordsComeTrue) {
  WordOdds odds = after_reads(1000);
  const auto young = odds.traits_of(0, run_at(998), read_of(5000, 1));
  const auto old = odds.traits_of(0, run_at(1), read_of(5000, 1));
  for (int i = 0; i < 500; ++i) {
    odds.learn(0, young, odds.probability(0, young, 0.5f), false);
    odds.learn(0, old, odds.probability(0, old, 0.5f), true);
  }
  EXPECT_LT(odds.probability(0, young, 0.5f), 0.2f);
  EXPECT_GT(odds.probability(0, old, 0.5f), 0.8f);
  EXPECT_NEAR(odds.probability(1, young, 0.5f), 0.5f, 1e-5f);  // another model's word
}

TEST(WordOddsTest, WhatCameTrueLaterWeighsAsIfItHadAtOnce) {
  WordOdds revised(1), at_once(1);
  const auto traits = revised.traits_of(0, run_at(5), read_of(0, 1));
  revised.learn(0, traits, 0.5f, false);
  revised.revise(0, traits);
  at_once.learn(0, traits, 0.5f, true);
  EXPECT_NEAR(revised.probability(0, traits, 0.5f), at_once.probability(0, traits, 0.5f), 1e-5f);
}

TEST(WordOddsTest, HearsWhetherAModelIsRightOfLate) {
  WordOdds odds(2);
  odds.remember(read_of(0, 1), 1);
  EXPECT_NE(odds.traits_of(0, run_at(5), read_of(1, 1)).track,
            odds.traits_of(1, run_at(5), read_of(1, 1)).track);
  for (uint64_t block = 1; block < 4; ++block) odds.remember(read_of(block, 1), 0);
  EXPECT_EQ(odds.traits_of(0, run_at(5), read_of(4, 1)).track,
            odds.traits_of(1, run_at(5), read_of(4, 1)).track);
}

TEST(WordOddsTest, OneSidedOutcomesStayInBounds) {
  WordOdds odds(1);
  const auto traits = odds.traits_of(0, run_at(5), read_of(0, 1));
  for (int i = 0; i < 100000; ++i) odds.revise(0, traits);
  EXPECT_LT(odds.probability(0, traits, 0.5f), 1.0f);
  EXPECT_LT(odds.state_bytes(), size_t{2} << 20);
}

}  // namespace
}  // namespace forerun::predict
