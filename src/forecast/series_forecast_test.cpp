#include "forecast/series_forecast.h"

#include <gtest/gtest.h>

#include <cmath>

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

}  // namespace
}  // namespace forerun::forecast
