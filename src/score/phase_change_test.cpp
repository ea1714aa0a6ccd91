#include "score/phase_change.h"

#include <gtest/gtest.h>

#include "core/rng.h"
#include "score/calibration.h"
#include "score/gate.h"

namespace forerun::score {
namespace {

// Returns how many outcomes it takes until the alarm, at most `max`.
int until_alarm(PhaseChange& phase, float probability, bool happened, int max = 1000) {
  for (int count = 1; count <= max; ++count)
    if (phase.add(probability, happened)) return count;
  return max + 1;
}

// Promises of certainty are kept 100 times, then broken: each breach exceeds the slack of 0.1 by
// 0.9, the mean error is still 0, so 9 is passed with the 11th: 9 x 0.9 = 8.1, 10 x 0.9 = 9.0 less
// what the mean has moved meanwhile.
TEST(PhaseChange, HearsOfBrokenPromisesAfterAKnownNumber) {
  PhaseChange phase({.slack = 0.1, .threshold = 9, .memory = 1e9, .evidence_min = 1});
  for (int i = 0; i < 100; ++i) ASSERT_FALSE(phase.add(1, true));
  EXPECT_EQ(until_alarm(phase, 1, false), 11);
  EXPECT_EQ(phase.changes(), 1u);
}

TEST(PhaseChange, HearsToBothSides) {
  PhaseChange phase({.slack = 0.1, .threshold = 9, .memory = 1e9, .evidence_min = 1});
  for (int i = 0; i < 100; ++i) ASSERT_FALSE(phase.add(0, false));
  EXPECT_EQ(until_alarm(phase, 0, true), 11);
}

TEST(PhaseChange, WhatIsKeptAsPromisedIsNoChange) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    PhaseChange phase({});
    Rng rng(seed);
    // It says other things than before, but they come true as said.
    for (int i = 0; i < 1000; ++i) {
      const float probability = i < 500 ? 0.9f : 0.3f;
      EXPECT_FALSE(phase.add(probability, rng.chance(probability))) << seed << ' ' << i;
    }
  }
}

TEST(PhaseChange, AModelThatAlwaysBoastsHasNotChanged) {
  PhaseChange phase({});
  Rng rng(5);
  for (int i = 0; i < 600; ++i) phase.add(0.9f, rng.chance(0.5));
  const uint64_t settled = phase.changes();
  for (int i = 0; i < 1000; ++i) phase.add(0.9f, rng.chance(0.5));
  EXPECT_EQ(phase.changes(), settled);
}

TEST(PhaseChange, ARevisedFailureIsNone) {
  PhaseChange phase({.threshold = 5, .evidence_min = 1});
  for (int i = 0; i < 200; ++i) {
    ASSERT_FALSE(phase.add(0.9f, false)) << i;
    ASSERT_FALSE(phase.revise()) << i;
  }
}

TEST(PhaseChange, PartsOfAWordCountAsOne) {
  PhaseChange phase({.slack = 0.1, .threshold = 9, .memory = 1e9, .evidence_min = 1});
  for (int i = 0; i < 100; ++i) ASSERT_FALSE(phase.add(1, true));
  int blocks = 1;
  while (blocks < 1000 && !phase.add(1, false, 1.0 / 8)) ++blocks;
  EXPECT_GT(blocks, 10 * 8);
  EXPECT_LE(blocks, 11 * 8);
}

// A predictor that was right nine times in ten is wrong from now on. How many outcomes until its
// word is worth less than half, and until it is muted?
struct Recovery {
  int doubted = 0, muted = 0;
};
Recovery recovery(bool is_watched, bool right_first) {
  Calibration calibration({.prior_weight = 8, .memory = 256});
  Gate gate({.share_min = 0.3, .share_back = 0.4});
  PhaseChange phase({});
  Rng rng(11);
  Recovery found;
  for (int i = 0; i < 4000; ++i) {
    const bool is_over = i >= 2000;
    const bool happened = rng.chance(right_first != is_over ? 0.9 : 0.05);
    const float probability = calibration.probability(0, 0.6f);
    calibration.learn(0, 0.6f, happened);
    gate.learn(happened);
    if (phase.add(probability, happened) && is_watched) {
      calibration.forget(16);
      gate.forget(16);
    }
    const bool is_trusted = calibration.probability(0, 0.6f) >= 0.5f;
    if (is_over && found.doubted == 0 && is_trusted != right_first) found.doubted = i - 1999;
    if (is_over && found.muted == 0 && gate.muted() == right_first) found.muted = i - 1999;
  }
  return found;
}

TEST(PhaseChange, WhoWasRightAndIsWrongStopsWithinTensOfOutcomes) {
  const Recovery with = recovery(true, true), without = recovery(false, true);
  EXPECT_LE(with.doubted, 50);
  EXPECT_LE(with.muted, 70);
  EXPECT_GE(without.doubted, 4 * with.doubted);
  EXPECT_GE(without.muted, 4 * with.muted);
}

TEST(PhaseChange, WhoWasSilencedAndIsRightIsHeardSoon) {
  const Recovery with = recovery(true, false), without = recovery(false, false);
  EXPECT_LE(with.doubted, 50);
  EXPECT_LE(with.muted, 50);
  EXPECT_GE(without.muted, 3 * with.muted);
}

TEST(Forgetting, KeepsSharesAndLosesWeight) {
  Calibration calibration({.prior_weight = 8, .memory = 1e9});
  for (int i = 0; i < 300; ++i) calibration.learn(2, 0.6f, i % 4 != 0);
  calibration.forget(8);
  EXPECT_NEAR(calibration.probability(2, 0.6f), (8 * 0.75 + 8 * 0.6) / 16, 1e-3);
  Gate gate({.share_min = 0.3, .share_back = 0.4, .evidence_min = 16, .memory = 1e9});
  for (int i = 0; i < 300; ++i) gate.learn(i % 4 != 0);
  gate.forget(8);
  EXPECT_NEAR(gate.share(), 0.75, 1e-6);
  for (int i = 0; i < 13; ++i) gate.learn(false);
  EXPECT_TRUE(gate.muted());  // 6 of 21
}

}  // namespace
}  // namespace forerun::score
