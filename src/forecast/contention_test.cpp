#include "forecast/contention.h"

#include <gmock/gmock.h>

#include <cmath>
#include <random>

namespace forerun::forecast {
namespace {

// A host of 10 cores whose demand wanders about 7, and whose guests wait from 8 cores on.
class Wandering {
 public:
  explicit Wandering(uint32_t seed) : generator_(seed) {}
  double next() {
    demand_ = 7 + 0.9 * (demand_ - 7) + 0.4 * (uniform() + uniform() + uniform() - 1.5) * 2;
    return demand_;
  }
  double uniform() { return static_cast<double>(generator_() >> 8) / (1 << 24); }

 private:
  std::mt19937 generator_;
  double demand_ = 7;
};

TEST(Contention, TheLabelIsWhatGuestsWaitedElseWhatTheHostSays) {
  EXPECT_EQ(contended({}), std::nullopt);
  EXPECT_EQ(contended({0.06, std::nullopt}), true);
  EXPECT_EQ(contended({0.04, 0.9}), false);
  EXPECT_EQ(contended({std::nullopt, 0.3}), true);
  EXPECT_EQ(contended({std::nullopt, 0.1}), false);
}

TEST(Contention, WithoutOutcomesItSaysWhatTheNormalSays) {
  const ContentionCalibration none, empty{ContentionTally()};
  for (const double excess : {-9.0, -2.0, -0.5, 0.0, 1.0, 9.0}) {
    const double normal = 0.5 * std::erfc(-excess / std::sqrt(2.0));
    EXPECT_NEAR(none.probability(excess, true), normal, 0.01);
    EXPECT_NEAR(empty.probability(excess, false), normal, 0.01);
  }
}

TEST(Contention, TheLimitThatOutcomesShowIsLearned) {
  Wandering host(7);
  ContentionForecaster forecaster({.horizons = {1, 6}});
  for (int tick = 0; tick < 6000; ++tick) {
    const double demand = host.next();
    forecaster.observe(demand, 10, demand > 8);
  }
  const ContentionScore& score = forecaster.score(1);
  EXPECT_GT(score.count, 5900u);
  EXPECT_LT(score.brier, 0.8 * score.brier_raw);
  EXPECT_LT(score.brier, 0.9 * score.brier_base);
  for (const ContentionScore::Bin& bin : score.bins) {
    if (bin.count < 500) continue;  // outcomes of six ticks overlap: they are few for their number
    const auto count = static_cast<double>(bin.count);
    EXPECT_NEAR(bin.said / count, static_cast<double>(bin.contended) / count, 0.08);
  }
  // What is said rises with demand.
  const auto calm = forecaster.outlook(1);
  forecaster.observe(9.5, 10, true);
  const auto full = forecaster.outlook(1);
  ASSERT_TRUE(calm && full);
  EXPECT_GT(full->probability, 0.8);
  EXPECT_TRUE(full->is_contended_now);
  EXPECT_GT(full->probability, full->raw);
}

TEST(Contention, TalliesOfHostsAddUpToThatOfTheirClass) {
  ContentionTally first, second, both;
  for (int i = 0; i < 400; ++i) {
    const double said = (i % 20) / 2.0 - 5;
    const bool came = i % 3 == 0, now = i % 5 == 0;
    (i % 2 == 0 ? first : second).add(said, now, came);
    both.add(said, now, came);
  }
  ContentionTally sum = first;
  sum.add(second);
  EXPECT_EQ(sum, both);
  EXPECT_DOUBLE_EQ(sum.count(), 400);
  ContentionTally copy;
  for (size_t i = 0; i < both.cells().size(); ++i) EXPECT_TRUE(copy.set(i, both.cells()[i]));
  EXPECT_EQ(copy, both);
  EXPECT_FALSE(copy.set(both.cells().size(), {}));
  EXPECT_FALSE(copy.set(0, {1, 2}));
  EXPECT_FALSE(copy.set(0, {NAN, 0}));
}

TEST(Contention, MoreDemandIsNeverLessContention) {
  ContentionTally odd;
  for (int i = 0; i < 200; ++i) odd.add(i % 2 == 0 ? -0.75 : 0.75, false, i % 2 == 0);
  const ContentionCalibration learned(odd);
  EXPECT_LE(learned.probability(-1, false), learned.probability(1, false) + 1e-9);
  EXPECT_NEAR(learned.probability(0, false), 0.5, 0.1);
}

TEST(Contention, WhatWasNotLookedAtTeachesNothing) {
  ContentionForecaster forecaster({.horizons = {2}});
  for (int tick = 0; tick < 100; ++tick) forecaster.observe(1, 10, std::nullopt);
  EXPECT_EQ(forecaster.score(0).count, 0u);
  EXPECT_EQ(forecaster.tally(0).count(), 0);
  EXPECT_TRUE(forecaster.outlook(0));
  EXPECT_FALSE(ContentionForecaster({.horizons = {2}}).outlook(0));
}

}  // namespace
}  // namespace forerun::forecast
