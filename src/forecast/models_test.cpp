// The parts that models are made of: least squares, volumes, places, the tree, the mix.
#include <gmock/gmock.h>

#include <cmath>

#include "core/rng.h"
#include "forecast/chow_liu.h"
#include "forecast/least_squares.h"
#include "forecast/logistic_mix.h"
#include "forecast/placement.h"
#include "forecast/volume.h"

namespace forerun::forecast {
namespace {

using ::testing::DoubleNear;
using ::testing::Each;

TEST(LeastSquares, FindsTheWeightsOfALinearRule) {
  LeastSquares model(3, {.first_trust = 100});
  Rng rng(1);
  for (int i = 0; i < 400; ++i) {
    const double x[] = {rng.unit(), rng.unit(), 1};
    model.learn(x, 2 * x[0] - 3 * x[1] + 0.5);
  }
  const double asked[] = {0.25, 0.75, 1};
  EXPECT_NEAR(model.predict(asked), 0.5 - 2.25 + 0.5, 0.02);
}

TEST(LeastSquares, FollowsARuleThatChanges) {
  LeastSquares model(1, {.forgetting = 0.98});
  const double x[] = {1};
  for (int i = 0; i < 300; ++i) model.learn(x, 1);
  for (int i = 0; i < 300; ++i) model.learn(x, 5);
  EXPECT_NEAR(model.predict(x), 5, 0.05);
}

TEST(LeastSquares, StaysFiniteWhenAnInputIsAlwaysZero) {
  LeastSquares model(2, {.forgetting = 0.9});
  const double x[] = {1, 0};
  for (int i = 0; i < 20000; ++i) model.learn(x, 3);
  EXPECT_NEAR(model.predict(x), 3, 1e-6);
}

constexpr LaunchShape kHourly{.hosts = 2, .manifests = 2, .tick_s = 3600, .window_ticks = 1};

TEST(Volume, ForeseesTheDailyPeakOfAManifest) {
  Volume volume(kHourly, LaunchUnit::kLaunches);
  std::vector<double> expected(2);
  double at_peak = 0, before_peak = 0;
  for (int64_t tick = 0; tick < 24 * 20; ++tick) {
    volume.foresee(tick, expected);
    if (tick % 24 == 9) at_peak = expected[0];
    if (tick % 24 == 8) before_peak = expected[0];
    const std::vector<Launched> launched = {{0, 0, 1, tick % 24 == 9 ? 40U : 1U}};
    volume.learn(tick, launched);
  }
  EXPECT_GT(at_peak, 20);
  EXPECT_LT(before_peak, 5);
  EXPECT_EQ(expected[1], 0);  // was never launched
}

TEST(Volume, CountsBatchesOrLaunches) {
  Volume batches(kHourly, LaunchUnit::kBatches), launches(kHourly, LaunchUnit::kLaunches);
  std::vector<double> few(2), many(2);
  for (int64_t tick = 0; tick < 100; ++tick) {
    batches.foresee(tick, few);
    launches.foresee(tick, many);
    const std::vector<Launched> launched = {{1, 1, 2, 30}};
    batches.learn(tick, launched);
    launches.learn(tick, launched);
  }
  EXPECT_NEAR(few[1], 2, 0.1);
  EXPECT_NEAR(many[1], 30, 1.5);
}

TEST(Volume, TimesThatNobodyObservedAreNotQuiet) {
  Volume volume(kHourly, LaunchUnit::kLaunches);
  std::vector<double> expected(2);
  const std::vector<Launched> launched = {{0, 0, 1, 10}};
  for (int64_t tick = 0; tick < 200; ++tick) {
    volume.foresee(tick, expected);
    volume.learn(tick, launched);
  }
  volume.foresee(5000, expected);
  EXPECT_NEAR(expected[0], 10, 2);
}

double total_share(const Placement& placement, const LaunchShape& shape, uint32_t manifest) {
  double sum = 0;
  for (uint32_t h = 0; h < shape.hosts; ++h) sum += placement.share(h, manifest);
  return sum;
}

constexpr LaunchShape kFleet{.hosts = 10, .manifests = 2, .tick_s = 300, .window_ticks = 2};

TEST(Placement, LearnsWhichHostLaunchesAManifest) {
  Placement placement(kFleet, LaunchUnit::kLaunches);
  for (int64_t tick = 0; tick < 200; ++tick)
    placement.learn(tick, std::vector<Launched>{{tick % 5 == 0 ? 7U : 3U, 1, 1, 2}});
  EXPECT_GT(placement.share(3, 1), 0.6);
  EXPECT_GT(placement.share(7, 1), placement.share(5, 1));
  EXPECT_NEAR(total_share(placement, kFleet, 1), 1, 1e-9);
  EXPECT_NEAR(placement.share(3, 0), 0.1, 1e-9);  // of the other manifest nothing is known
}

TEST(Placement, TrustsNoHistoryWhereHostsAreDrawnAtRandom) {
  Placement placement(kFleet, LaunchUnit::kBatches);
  Rng rng(5);
  for (int64_t tick = 0; tick < 2000; ++tick)
    placement.learn(tick, std::vector<Launched>{{static_cast<uint32_t>(rng.below(10)), 0, 1, 1}});
  for (uint32_t h = 0; h < 10; ++h) EXPECT_NEAR(placement.share(h, 0), 0.1, 0.04);
}

TEST(Placement, FollowsAManifestThatMoves) {
  Placement placement(kFleet, LaunchUnit::kBatches);
  for (int64_t tick = 0; tick < 2000; ++tick)
    placement.learn(tick, std::vector<Launched>{{tick < 1900 ? 1U : 2U, 0, 1, 1}});
  EXPECT_GT(placement.share(2, 0), 0.5);
}

TEST(ChowLiu, JoinsWhatDependsOnEachOther) {
  // 0 → 1 → 2 is a chain of noisy copies, 3 is a coin.
  ChowLiuTree tree({4, 4, 4, 2}, {.keep = 1, .rebuild_every = 1 << 30});
  Rng rng(3);
  for (int i = 0; i < 4000; ++i) {
    const auto a = static_cast<uint32_t>(rng.below(4));
    const uint32_t b = rng.chance(0.9) ? a : static_cast<uint32_t>(rng.below(4));
    const uint32_t c = rng.chance(0.9) ? b : static_cast<uint32_t>(rng.below(4));
    tree.add(std::vector<uint32_t>{a, b, c, static_cast<uint32_t>(rng.below(2))});
  }
  tree.rebuild();
  EXPECT_TRUE(tree.joined(0, 1));
  EXPECT_TRUE(tree.joined(1, 2));
  EXPECT_FALSE(tree.joined(0, 2));
  EXPECT_GT(tree.information(0, 1), tree.information(0, 2));
  EXPECT_LT(tree.information(0, 3), 0.01);
}

TEST(ChowLiu, GivesTheConditionalProbability) {
  ChowLiuTree tree({2, 2}, {.keep = 1, .rebuild_every = 1 << 30});
  for (int i = 0; i < 1000; ++i) {
    const uint32_t cause = i % 2 == 0 ? 0 : 1;
    const uint32_t effect = i % 10 < 8 ? cause : 1 - cause;
    tree.add(std::vector<uint32_t>{effect, cause});
  }
  tree.rebuild();
  std::vector<double> chance(2);
  tree.posterior(0, std::vector<uint32_t>{0, 1}, chance);
  EXPECT_NEAR(chance[1], 0.8, 0.02);
  EXPECT_NEAR(chance[0] + chance[1], 1, 1e-12);
}

TEST(ChowLiu, KnowsNothingBeforeTheFirstSample) {
  const ChowLiuTree tree({3, 2}, {});
  std::vector<double> chance(3);
  tree.posterior(0, std::vector<uint32_t>{0, 1}, chance);
  EXPECT_THAT(chance, Each(DoubleNear(1.0 / 3, 1e-12)));
}

TEST(ChowLiu, ForgetsAtEachRebuild) {
  ChowLiuTree tree({2, 2}, {.keep = 0.5, .rebuild_every = 50});
  for (int i = 0; i < 1000; ++i) tree.add(std::vector<uint32_t>{0, 0});
  for (int i = 0; i < 300; ++i) tree.add(std::vector<uint32_t>{1, 0});
  std::vector<double> chance(2);
  tree.posterior(0, std::vector<uint32_t>{0, 0}, chance);
  EXPECT_GT(chance[1], 0.9);
}

TEST(LogisticMix, BelievesThePieceThatIsRight) {
  LogisticMix mix(1, 2, {.rate = 0.02});
  Rng rng(7);
  for (int i = 0; i < 5000; ++i) {
    const bool likely = rng.chance(0.5);
    const bool happened = rng.chance(likely ? 0.9 : 0.1);
    const float logits[] = {logit(likely ? 0.9F : 0.1F), logit(rng.chance(0.5) ? 0.9F : 0.1F)};
    mix.learn(0, logits, mix.mix(0, logits), happened);
  }
  EXPECT_NEAR(mix.weights(0)[0], 1, 0.25);
  EXPECT_NEAR(mix.weights(0)[1], 0, 0.25);
}

TEST(LogisticMix, CalibratesAPieceThatExaggerates) {
  LogisticMix mix(2, 1, {.rate = 0.02});
  Rng rng(9);
  const float logits[] = {logit(0.95F)};
  for (int i = 0; i < 20000; ++i) mix.learn(1, logits, mix.mix(1, logits), rng.chance(0.3));
  EXPECT_NEAR(mix.mix(1, logits), 0.3, 0.08);
  EXPECT_NEAR(mix.mix(0, logits), 0.95, 1e-3);  // another context learned nothing
}

TEST(LogisticMix, SurvivesCertainty) {
  LogisticMix mix(1, 2, {.rate = 1});
  const float logits[] = {logit(1), logit(0)};
  for (int i = 0; i < 1000; ++i) mix.learn(0, logits, mix.mix(0, logits), i % 2 == 0);
  EXPECT_GT(mix.mix(0, logits), 0);
  EXPECT_LT(mix.mix(0, logits), 1);
}

}  // namespace
}  // namespace forerun::forecast
