#include "predict/gap_tokens.h"

#include <gtest/gtest.h>

#include <set>

#include "core/rng.h"

namespace forerun::predict {
namespace {

TEST(GapTokens, SmallGapsHaveTokensOfTheirOwn) {
  GapTokens tokens;
  std::set<uint32_t> seen;
  for (int64_t gap = -GapTokens::kSmall; gap <= GapTokens::kSmall; ++gap) {
    const uint32_t token = tokens.token_of(gap);
    EXPECT_TRUE(seen.insert(token).second);
    EXPECT_EQ(tokens.gap_of(token), gap);
  }
}

TEST(GapTokens, AGapThatComesAgainGetsAToken) {
  GapTokens tokens;
  EXPECT_FALSE(tokens.gap_of(tokens.token_of(1000)));
  uint32_t token = 0;
  for (int i = 0; i < 10; ++i) token = tokens.token_of(1000);
  EXPECT_EQ(tokens.gap_of(token), 1000);
}

TEST(GapTokens, RareGapsShareTheTokenOfTheirMagnitudeAndSide) {
  GapTokens tokens;
  EXPECT_EQ(tokens.token_of(5000), tokens.token_of(6000));
  EXPECT_NE(tokens.token_of(5001), tokens.token_of(-5001));
  EXPECT_NE(tokens.token_of(5002), tokens.token_of(5'000'000));
  for (const int64_t gap : {INT64_MAX, INT64_MIN})
    EXPECT_LT(tokens.token_of(gap), GapTokens::kTokens);
}

TEST(GapTokens, FrequentOnesStayWhileRareOnesPass) {
  GapTokens tokens;
  Rng rng(1);
  for (int i = 0; i < 200'000; ++i) {
    ASSERT_LT(tokens.token_of(static_cast<int64_t>(100 + rng.below(1 << 30))), GapTokens::kTokens);
    if (i % 10 == 0) tokens.token_of(777);
  }
  EXPECT_EQ(tokens.gap_of(tokens.token_of(777)), 777);
}

TEST(GapTokens, WhatWasFrequentLongAgoGivesWay) {
  GapTokens tokens;
  for (int64_t gap = 100; gap < 100 + GapTokens::kFrequent; ++gap)
    for (int i = 0; i < 1000; ++i) tokens.token_of(gap);
  for (int i = 0; i < 200'000; ++i) tokens.token_of(100'000 + i % 20);
  EXPECT_EQ(tokens.gap_of(tokens.token_of(100'003)), 100'003);
}

}  // namespace
}  // namespace forerun::predict
