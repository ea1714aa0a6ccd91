#include "forecast/member_outlook.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/rng.h"

namespace forerun::forecast {
namespace {

TEST(MemberFigures, AreOfTheRightWindows) {
  std::vector<float> past(30);
  for (size_t i = 0; i < past.size(); ++i) past[i] = static_cast<float>(i) / 100;
  const MemberFigures f = member_figures(past);
  EXPECT_FLOAT_EQ(f.lags[0], 0.29f);
  EXPECT_FLOAT_EQ(f.lags[11], 0.18f);
  EXPECT_FLOAT_EQ(f.means[0], 0.28f);
  EXPECT_FLOAT_EQ(f.means[6], 0.145f);
  EXPECT_FLOAT_EQ(f.maxima[3], 0.29f);
  EXPECT_FLOAT_EQ(f.minima[1], 0.18f);
  EXPECT_FLOAT_EQ(f.quantiles_all[2], 0.14f);
  EXPECT_FLOAT_EQ(f.quantiles_hour[0], 0.23f);
  EXPECT_NEAR(f.step_hour, 0.01, 1e-6);
  EXPECT_FLOAT_EQ(f.phase_hour, 0.205f);  // samples 18 to 23
  EXPECT_FLOAT_EQ(f.phase_all, (0.205f + 0.085f) / 2);
  EXPECT_FLOAT_EQ(f.level_age, 29);
  EXPECT_FLOAT_EQ(f.samples, 30);
}

TEST(MemberFigures, WhatIsOldDoesNotCount) {
  std::vector<float> past(kMemberPast_max + 100, 0.2f), recent(kMemberPast_max, 0.2f);
  past[50] = 1;
  EXPECT_EQ(member_figures(past), member_figures(recent));
}

TEST(MemberFigures, FollowedIsWhatCameAfterValuesLikeNow) {
  std::vector<float> past;  // half an hour of .9 after each .5, half an hour of .1 after each .3
  for (int i = 0; i < 10; ++i) {
    past.push_back(0.5f);
    past.insert(past.end(), 6, 0.9f);
    past.push_back(0.3f);
    past.insert(past.end(), 6, 0.1f);
  }
  past.push_back(0.5f);
  EXPECT_GT(member_figures(past).followed, 0.75f);
  past.back() = 0.3f;
  EXPECT_LT(member_figures(past).followed, 0.25f);
}

TEST(MemberOutlook, IndependentMembersAddTheirVariances) {
  MemberOutlook sum;
  sum.add({.mean = 0.5f, .variance = 0.04f, .spread = 0.01f}, 0.5f);
  sum.add({.mean = 0.2f, .variance = 0.01f, .spread = 0.04f}, 1);
  EXPECT_FLOAT_EQ(sum.mean, 0.45f);
  EXPECT_FLOAT_EQ(sum.variance, 0.02f);
  EXPECT_FLOAT_EQ(sum.spread, 0.0425f);
}

// Past of a VM at `level`, that swings by `swing`, and what follows.
std::vector<float> wander(Rng& rng, float level, float swing) {
  std::vector<float> all(36);
  for (float& value : all) value = level + swing * static_cast<float>(rng.unit() - 0.5);
  return all;
}

TEST(MemberForecaster, TellsSteadyFromRestlessVms) {
  Rng rng(1);
  MemberForecaster forecaster(4000);
  EXPECT_FALSE(forecaster.train());
  const auto both = [&](bool restless) {
    return wander(rng, restless ? 0.6f : 0.2f, restless ? 0.6f : 0.02f);
  };
  for (int i = 0; i < 4000; ++i) {
    const auto all = both(i % 2 == 1);
    forecaster.observe(member_figures(std::span(all).first(30)), std::span(all).subspan(30));
  }
  ASSERT_TRUE(forecaster.train());
  const auto says = [&](bool restless) {
    const auto all = both(restless);
    return forecaster.outlook(member_figures(MemberPast(all).first(30)));
  };
  const MemberOutlook steady = says(false), restless = says(true);
  EXPECT_NEAR(steady.mean, 0.2, 0.02);
  EXPECT_NEAR(restless.mean, 0.6, 0.03);
  EXPECT_NEAR(restless.spread, 0.36 / 12 * 5 / 6, 0.005);  // variance of six, about their mean
  EXPECT_NEAR(restless.variance, 0.36 / 12 / 6, 0.002);    // of the mean of six
  EXPECT_LT(steady.spread, 0.002);
}

TEST(MemberForecaster, TheOldestRowsGo) {
  Rng rng(2);
  MemberForecaster forecaster(1000);
  const MemberFigures figures = member_figures(wander(rng, 0.5f, 0.1f));
  const std::vector<float> low(6, 0.1f), high(6, 0.7f);
  for (int i = 0; i < 1000; ++i) forecaster.observe(figures, low);
  for (int i = 0; i < 1000; ++i) forecaster.observe(figures, high);
  ASSERT_TRUE(forecaster.train());
  EXPECT_NEAR(forecaster.outlook(figures).mean, 0.7, 0.01);
}

}  // namespace
}  // namespace forerun::forecast
