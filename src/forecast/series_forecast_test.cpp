#include "forecast/series_forecast.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/rng.h"

namespace forerun::forecast {
namespace {

// About normal: the sum of twelve uniforms.
double noise(Rng& rng) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += rng.unit();
  return sum;
}

SeriesForecaster::Options one_horizon(uint32_t samples, uint32_t season = 0) {
  return {.horizons = {samples}, .season = season};
}

TEST(SeriesForecaster, SaysNothingBeforeTheFirstSample) {
  SeriesForecaster forecaster({});
  EXPECT_FALSE(forecaster.forecast(0));
  forecaster.observe(3);
  ASSERT_TRUE(forecaster.forecast(0));
  EXPECT_EQ(forecaster.forecast(0)->value, 3);
  EXPECT_FALSE(forecaster.forecast(4));
}

TEST(SeriesForecaster, ALineIsFollowedByItsTrend) {
  SeriesForecaster forecaster(one_horizon(5));
  for (int i = 0; i < 600; ++i) forecaster.observe(2.0 * i + 1);
  EXPECT_EQ(forecaster.forecast(0)->method, "holt");
  EXPECT_NEAR(forecaster.forecast(0)->value, 2.0 * 604 + 1, 0.5);
}

TEST(SeriesForecaster, NoiseIsForeseenByItsMean) {
  SeriesForecaster forecaster(one_horizon(3));
  Rng rng(1);
  for (int i = 0; i < 2000; ++i) forecaster.observe(10 + noise(rng));
  EXPECT_NEAR(forecaster.forecast(0)->value, 10, 0.3);
  const auto errors = forecaster.errors(0);
  EXPECT_LT(errors[5], 0.8 * errors[0]);  // the mean against the last value: 1 to √2
}

TEST(SeriesForecaster, AWalkIsForeseenByWhereItIs) {
  SeriesForecaster forecaster(one_horizon(1));
  Rng rng(2);
  double at = 0;
  for (int i = 0; i < 2000; ++i) forecaster.observe(at += noise(rng));
  EXPECT_NEAR(forecaster.forecast(0)->value, at, 0.2);
}

TEST(SeriesForecaster, APeriodIsFoundIfItIsKnown) {
  SeriesForecaster forecaster(one_horizon(6, 24));
  const auto value = [](int i) { return 50 + 30 * std::sin(2 * M_PI * i / 24); };
  for (int i = 0; i < 480; ++i) forecaster.observe(value(i));
  EXPECT_EQ(forecaster.forecast(0)->method, "season");
  EXPECT_NEAR(forecaster.forecast(0)->value, value(485), 1e-6);
}

size_t method(std::string_view name) {
  const auto names = SeriesForecaster::methods();
  return static_cast<size_t>(std::find(names.begin(), names.end(), name) - names.begin());
}

// x = 1.6 x' - 0.9 x'' + noise swings; what noise of standard deviation 1 leaves unknown is 0.8 in
// the mean (√(2/π)), which one lag does not reach.
TEST(SeriesForecaster, AnAutoregressionOfTwoLagsIsLearned) {
  SeriesForecaster forecaster(one_horizon(1));
  Rng rng(7);
  double at = 0, before = 0;
  for (int i = 0; i < 4000; ++i) {
    const double next = 1.6 * at - 0.9 * before + noise(rng);
    before = std::exchange(at, next);
    forecaster.observe(50 + at);
  }
  const auto errors = forecaster.errors(0);
  EXPECT_LT(errors[method("ar_12")], 0.9);
  EXPECT_GT(errors[method("ar_1")], 1.2);
  EXPECT_EQ(forecaster.forecast(0)->method, "ar_12");
  EXPECT_NEAR(forecaster.forecast(0)->value, 50 + 1.6 * at - 0.9 * before, 0.4);
}

// Four of five samples are 1, the rest 11: the mean, 3, is wrong by 3.2, the median by 2.
TEST(SeriesForecaster, TheMedianErrsLeastWhereSpikesAreRare) {
  SeriesForecaster forecaster(one_horizon(1));
  Rng rng(8);
  for (int i = 0; i < 4000; ++i) forecaster.observe(rng.chance(0.2) ? 11 : 1);
  const auto errors = forecaster.errors(0);
  EXPECT_LT(errors[method("median_12")], 2.4);
  EXPECT_GT(errors[method("mean")], 2.9);
}

TEST(SeriesForecaster, ASeasonOnAMovingLevelIsHoltWinters) {
  SeriesForecaster forecaster(one_horizon(6, 24));
  Rng rng(9);
  for (int i = 0; i < 1200; ++i)
    forecaster.observe(10 * std::sin(2 * M_PI * i / 24) + 0.05 * i + 0.1 * noise(rng));
  const auto errors = forecaster.errors(0);
  EXPECT_LT(errors[method("holt_winters")], 0.6);
  EXPECT_NEAR(errors[method("season")], 1.2, 0.1);  // a season ago it was lower by 24 · 0.05
}

TEST(SeriesForecaster, TwelveHoursAheadAreCovered) {
  SeriesForecaster forecaster(one_horizon(144, 288));
  Rng rng(10);
  int covered = 0, counted = 0;
  std::vector<double> values;
  std::vector<SeriesForecast> said;
  for (int i = 0; i < 4000; ++i) {
    values.push_back(50 + 20 * std::sin(2 * M_PI * i / 288) + noise(rng));
    forecaster.observe(values.back());
    said.push_back(*forecaster.forecast(0));
    if (i < 1000) continue;
    const SeriesForecast& then = said[static_cast<size_t>(i - 144)];
    covered += values.back() >= then.low && values.back() <= then.high;
    ++counted;
  }
  EXPECT_NEAR(static_cast<double>(covered) / counted, 0.9, 0.03);
  EXPECT_NEAR(said.back().value, 50 + 20 * std::sin(2 * M_PI * (3999 + 144) / 288), 2);
}

TEST(SeriesForecaster, IntervalsCoverWhatTheySay) {
  for (const bool walks : {false, true}) {
    SeriesForecaster forecaster(one_horizon(1));
    Rng rng(3);
    double at = 0;
    int covered = 0, counted = 0;
    for (int i = 0; i < 6000; ++i) {
      const double size = i < 3000 ? 1 : 4;  // the noise grows
      const double value = walks ? at + size * noise(rng) : size * noise(rng);
      if (i > 500) {
        const auto said = forecaster.forecast(0);
        covered += value >= said->low && value <= said->high;
        ++counted;
      }
      forecaster.observe(value);
      at = value;
    }
    const double share = static_cast<double>(covered) / counted;
    EXPECT_GT(share, 0.88) << walks;
    EXPECT_LT(share, 0.92) << walks;
  }
}

// A day of another demand, that was known of, leaves what the day after it is said to be.
TEST(SeriesForecast, AnUnusualDayIsLeftOutOfTheSeason) {
  const auto season_error_after = [](bool is_told) {
    SeriesForecaster forecaster({.horizons = {2}, .season = 24, .score_memory = 0.5});
    for (int hour = 0; hour < 21 * 24; ++hour) {
      const bool is_odd = hour / 24 == 19;
      const double usual = 10 + 5 * std::sin(2 * M_PI * hour / 24);
      forecaster.observe(is_odd ? 30 : usual, !is_odd || !is_told);
    }
    const auto methods = SeriesForecaster::methods();
    const auto at = std::find(methods.begin(), methods.end(), "season") - methods.begin();
    return forecaster.errors(0)[static_cast<size_t>(at)];
  };
  EXPECT_LT(season_error_after(true), 0.1);
  EXPECT_GT(season_error_after(false), 10);
}

}  // namespace
}  // namespace forerun::forecast
