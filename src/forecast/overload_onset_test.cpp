#include "forecast/overload_onset.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/rng.h"

namespace forerun::forecast {
namespace {

BoostedTrees::Options few() {
  return {.trees = 40,
          .depth = 3,
          .rate = 0.3,
          .row_share = 1,
          .column_share = 1,
          .leaf_weight_min = 1,
          .l2 = 1};
}

TEST(BoostedTrees, FindWhatDecides) {
  Rng rng(1);
  std::vector<float> rows;
  std::vector<float> happened;
  for (int i = 0; i < 2000; ++i) {
    const float a = static_cast<float>(rng.unit()), b = static_cast<float>(rng.unit());
    rows.insert(rows.end(), {a, b, static_cast<float>(rng.unit())});
    happened.push_back((a > 0.5f) != (b > 0.5f) ? 1 : 0);  // no line separates it
  }
  const BoostedTrees trees(rows, 3, happened, few());
  const auto says = [&](float a, float b) {
    return trees.probability(std::vector<float>{a, b, 0.5f});
  };
  EXPECT_GT(says(0.9f, 0.1f), 0.9);
  EXPECT_GT(says(0.1f, 0.9f), 0.9);
  EXPECT_LT(says(0.1f, 0.1f), 0.1);
  EXPECT_LT(says(0.9f, 0.9f), 0.1);
}

TEST(BoostedTrees, WhatIsChanceIsSaidAtItsRate) {
  Rng rng(2);
  std::vector<float> rows;
  std::vector<float> happened;
  for (int i = 0; i < 4000; ++i) {
    rows.push_back(static_cast<float>(rng.unit()));
    happened.push_back(rng.chance(0.3) ? 1 : 0);
  }
  const BoostedTrees trees(rows, 1, happened, {.trees = 10, .row_share = 1, .column_share = 1});
  EXPECT_NEAR(trees.probability(std::vector<float>{0.5f}), 0.3, 0.05);
  const BoostedTrees constant(std::vector<float>(100, 1.0f), 1, std::vector<float>(100, 0), few());
  EXPECT_LT(constant.probability(std::vector<float>{1.0f}), 0.01);
}

TEST(BoostedTrees, LearnAMean) {
  Rng rng(6);
  std::vector<float> rows, outcomes;
  for (int i = 0; i < 4000; ++i) {
    const float x = static_cast<float>(rng.unit());
    rows.push_back(x);
    outcomes.push_back((x > 0.5f ? 3 : -1) + static_cast<float>(rng.unit()));
  }
  auto options = few();
  options.loss = BoostedTrees::Loss::kSquared;
  const BoostedTrees trees(rows, 1, outcomes, options);
  EXPECT_NEAR(trees.score(std::vector<float>{0.2f}), -0.5, 0.1);
  EXPECT_NEAR(trees.score(std::vector<float>{0.9f}), 3.5, 0.1);
}

// Members whose loads wander about `mean` each.
std::vector<std::vector<float>> members(Rng& rng, size_t count, size_t samples, double mean) {
  std::vector<std::vector<float>> all(count);
  for (auto& one : all)
    for (size_t i = 0; i < samples; ++i)
      one.push_back(static_cast<float>(mean * (0.5 + rng.unit())));
  return all;
}

// Of members that are a whole host each, as are their loads.
std::optional<OnsetRow> row_of(const std::vector<std::vector<float>>& all, size_t samples) {
  std::vector<MemberFigures> figures;
  std::vector<OnsetMember> members;
  std::vector<float> load(samples);
  for (const auto& one : all) {
    figures.push_back(member_figures(MemberPast(one).first(samples)));
    for (size_t i = 0; i < samples; ++i) load[i] += one[i];
  }
  for (const MemberFigures& each : figures) members.push_back({&each, 1});
  return onset_row(load, members, {});
}

TEST(OnsetRow, NeedsAPastAndAHostThatIsNotOver) {
  Rng rng(3);
  EXPECT_FALSE(onset_row({}, {}, {}));
  EXPECT_FALSE(row_of(members(rng, 4, 23, 0.1), 23));
  EXPECT_TRUE(row_of(members(rng, 4, 24, 0.1), 24));
  EXPECT_FALSE(row_of(members(rng, 4, 24, 0.5), 24));
  const auto idle = row_of(std::vector<std::vector<float>>(2, std::vector<float>(300, 0)), 300);
  ASSERT_TRUE(idle);
  for (const float value : *idle) EXPECT_TRUE(std::isfinite(value));
}

TEST(OnsetRow, AnOnsetTakesTwoSamples) {
  EXPECT_FALSE(is_onset(std::vector<float>{0.9f, 0, 0, 0, 0, 0}, {}));
  EXPECT_TRUE(is_onset(std::vector<float>{0.9f, 0, 0, 0, 0, 0.8f}, {}));
}

TEST(OnsetChance, IsThatOfTwoOfSixSamples) {
  // Each sample is over with probability 1/2, independent of the others: 1 - 7/64.
  EXPECT_NEAR(onset_chance({.mean = 0.8f, .variance = 0, .spread = 0.01f}, {}), 57.0 / 64, 1e-4);
  EXPECT_GT(onset_chance({.mean = 1.5f, .variance = 0.001f, .spread = 0.001f}, {}), 0.99999);
  EXPECT_LT(onset_chance({.mean = 0.2f, .variance = 0.001f, .spread = 0.001f}, {}), 1e-5);
}

TEST(OnsetChance, AverageOverWhatIsUncertain) {
  const OnsetOptions one{.ahead = 1, .over_min = 1};
  // The normal tail of both variances together.
  const double deviate = 0.1 / std::sqrt(0.02);
  EXPECT_NEAR(onset_chance({.mean = 0.7f, .variance = 0.01f, .spread = 0.01f}, one),
              std::erfc(deviate / std::sqrt(2.0)) / 2, 2e-4);
}

TEST(OnsetForecaster, RisingHostsAreToldFromStillOnes) {
  Rng rng(4);
  OnsetForecaster forecaster({}, 1000);
  EXPECT_FALSE(forecaster.train(few()));
  std::vector<OnsetRow> rising, still;
  for (int i = 0; i < 300; ++i) {
    auto host = members(rng, 5, 30, 0.1);
    still.push_back(*row_of(host, 30));
    for (size_t s = 24; s < 30; ++s) host[0][s] += 0.04f * static_cast<float>(s - 23);
    const auto row = row_of(host, 30);
    if (row) rising.push_back(*row);
  }
  for (size_t i = 0; i < 200; ++i) {
    forecaster.observe(still[i], false);
    if (i < rising.size()) forecaster.observe(rising[i], true);
  }
  ASSERT_TRUE(forecaster.train(few()));
  const MemberOutlook below{.mean = 0.5f, .variance = 0.01f, .spread = 0.01f};
  const MemberOutlook above{.mean = 1.1f, .variance = 0.01f, .spread = 0.01f};
  EXPECT_LT(forecaster.probability(still[250], below), 0.1);
  EXPECT_GT(forecaster.probability(rising.back(), above), 0.9);
  EXPECT_GT(forecaster.probability(still[250], above), forecaster.probability(still[250], below));
}

TEST(OnsetForecaster, TheOldestRowsGo) {
  Rng rng(5);
  OnsetForecaster forecaster({}, 400);
  const OnsetRow row = *row_of(members(rng, 5, 30, 0.1), 30);
  const MemberOutlook even{.mean = 0.742f, .variance = 0, .spread = 0.01f};
  const double log_odds = std::log(onset_chance(even, {}) / (1 - onset_chance(even, {})));
  const auto joined = [&](double odds) {
    return 1 / (1 + std::exp(-(std::log(odds) + log_odds) / 2));
  };
  for (int i = 0; i < 1000; ++i) forecaster.observe(row, i % 2 == 0);
  ASSERT_TRUE(forecaster.train(few()));
  EXPECT_NEAR(forecaster.probability(row, even), joined(1), 0.01);
  for (int i = 0; i < 200; ++i) forecaster.observe(row, true);
  ASSERT_TRUE(forecaster.train(few()));
  EXPECT_NEAR(forecaster.probability(row, even), joined(3), 0.01);
}

}  // namespace
}  // namespace forerun::forecast
