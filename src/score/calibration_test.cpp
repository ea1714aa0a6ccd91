#include "score/calibration.h"

#include <gtest/gtest.h>

#include "core/rng.h"
#include "score/gate.h"

namespace forerun::score {
namespace {

TEST(Calibration, BelievesTheModelWhileItHasSeenNothing) {
  const Calibration calibration({});
  EXPECT_FLOAT_EQ(calibration.probability(3, 0.7f), 0.7f);
}

TEST(Calibration, IsNeverQuiteSure) {
  const Calibration calibration({});
  EXPECT_LT(calibration.probability(0, 1.0f), 1.0f);
  EXPECT_GT(calibration.probability(0, 0.0f), 0.0f);
}

TEST(Calibration, LearnsThatAModelBoasts) {
  Calibration calibration({});
  Rng rng(7);
  for (int i = 0; i < 2000; ++i) calibration.learn(1, 0.9f, rng.chance(0.3));
  EXPECT_NEAR(calibration.probability(1, 0.9f), 0.3f, 0.06f);
  EXPECT_FLOAT_EQ(calibration.probability(0, 0.9f), 0.9f);  // another context is untouched
}

TEST(Calibration, ForgetsAnOldPhase) {
  Calibration calibration({.prior_weight = 4, .memory = 50, .contexts_max = 4});
  for (int i = 0; i < 1000; ++i) calibration.learn(0, 0.5f, false);
  for (int i = 0; i < 200; ++i) calibration.learn(0, 0.5f, true);
  EXPECT_GT(calibration.probability(0, 0.5f), 0.85f);
}

TEST(Calibration, RevisesAFailureThatCameTrueLate) {
  Calibration calibration({});
  Calibration other({});
  calibration.learn(0, 0.5f, false);
  calibration.revise(0, 0.5f);
  other.learn(0, 0.5f, true);
  EXPECT_NEAR(calibration.probability(0, 0.5f), other.probability(0, 0.5f), 1e-5f);
}

TEST(Calibration, StaysWithinItsContexts) {
  Calibration calibration({.prior_weight = 4, .memory = 50, .contexts_max = 4});
  for (int context = 0; context < 1000; ++context) {
    calibration.learn(static_cast<uint16_t>(context), 0.5f, true);
  }
  EXPECT_LE(calibration.state_bytes(), 8 * kBins * 8);
  EXPECT_GT(calibration.probability(999, 0.5f), 0.9f);  // all those share context 3
}

TEST(Reliability, MeasuresTheGapBetweenWordAndDeed) {
  Reliability reliability;
  for (int i = 0; i < 80; ++i) reliability.add(0.85f, true);
  for (int i = 0; i < 20; ++i) reliability.add(0.85f, false);
  for (int i = 0; i < 100; ++i) reliability.add(0.25f, false);
  const auto bins = reliability.bins();
  EXPECT_EQ(bins[8].count, 100u);
  EXPECT_NEAR(bins[8].happened, 0.8, 1e-6);
  EXPECT_NEAR(reliability.gap(), (0.05 + 0.25) / 2, 1e-6);
  reliability.revise(0.25f);
  EXPECT_EQ(reliability.happened(), 81u);
}

TEST(Gate, JudgesOnlyWithEvidence) {
  Gate gate({.share_min = 0.1, .share_back = 0.2, .evidence_min = 20, .memory = 100});
  for (int i = 0; i < 19; ++i) gate.learn(false);
  EXPECT_FALSE(gate.muted());
  gate.learn(false);
  EXPECT_TRUE(gate.muted());
}

TEST(Gate, LetsAPredictorBackThatHasBecomeUseful) {
  Gate gate({.share_min = 0.1, .share_back = 0.2, .evidence_min = 20, .memory = 100});
  for (int i = 0; i < 200; ++i) gate.learn(false);
  ASSERT_TRUE(gate.muted());
  for (int i = 0; i < 15; ++i) gate.learn(true);
  EXPECT_TRUE(gate.muted());  // not by the first few
  for (int i = 0; i < 60; ++i) gate.learn(true);
  EXPECT_FALSE(gate.muted());
}

}  // namespace
}  // namespace forerun::score
