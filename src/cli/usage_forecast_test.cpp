#include "cli/usage_forecast.h"

#include <gmock/gmock.h>

#include <cmath>

namespace forerun::cli {
namespace {

using Points = std::vector<std::array<double, 3>>;

// Three days of a wave about `level`.
Points wave(double level) {
  Points points;
  for (int i = 0; i < 3 * 288; ++i) {
    const double value = level + std::sin(2 * M_PI * i / 288);
    points.push_back({1e9 + 300.0 * i, value, value});
  }
  return points;
}

TEST(UsageForecast, AWaveGoesOn) {
  const auto forecast = forecast_usage(wave(4), std::nullopt);
  ASSERT_TRUE(forecast) << forecast.error().message;
  EXPECT_EQ(forecast->samples, 864U);
  ASSERT_EQ(forecast->ahead.size(), 6U);
  const UsageAhead& six_hours = forecast->ahead[4];
  EXPECT_EQ(six_hours.minutes, 360U);
  EXPECT_NEAR(six_hours.value, 4 + std::sin(2 * M_PI * (863 + 72) / 288), 0.1);
  EXPECT_LE(six_hours.low, six_hours.value);
  EXPECT_FALSE(six_hours.over);
}

TEST(UsageForecast, ALimitHasAProbability) {
  const auto far = forecast_usage(wave(4), 40);
  const auto below = forecast_usage(wave(4), 1);
  ASSERT_TRUE(far && below);
  EXPECT_LT(*far->ahead[0].over, 0.01);
  EXPECT_GT(*below->ahead[0].over, 0.99);
  EXPECT_THAT(usage_forecast_table(*far, "cpu_cores"), testing::HasSubstr("OVER %"));
  EXPECT_THAT(usage_forecast_json(*far), testing::HasSubstr("over_probability"));
}

TEST(UsageForecast, KnownEventsAreTakenOutOfThePastAndPutIntoWhatComes) {
  Points points = wave(4);
  const double last = points.back()[0];
  // Twice as much for the last six hours, and again from three hours on for a day.
  const std::vector<forecast::KnownEvent> events = {
      {.from_s = last - 71 * 300, .to_s = last + 300, .factor = 2},
      {.from_s = last + 3 * 3600, .to_s = last + 86'400, .factor = 2}};
  for (size_t i = points.size() - 72; i < points.size(); ++i) points[i][1] *= 2;
  const auto told = forecast_usage(points, std::nullopt, events);
  const auto usual = forecast_usage(wave(4), std::nullopt);
  ASSERT_TRUE(told && usual);
  EXPECT_NEAR(told->ahead[2].value, usual->ahead[2].value, 1e-6) << "30 min";
  EXPECT_NEAR(told->ahead[4].value, 2 * usual->ahead[4].value, 0.3) << "6 h";
}

TEST(UsageForecast, GapsAreFilledAndANewLevelIsSaid) {
  Points points;
  for (int i = 0; i < 300; ++i)
    if (i < 50 || i > 60) points.push_back({300.0 * i, (i < 200 ? 5 : 9) + 0.1 * (i % 3), 0});
  const auto forecast = forecast_usage(points, std::nullopt);
  ASSERT_TRUE(forecast);
  EXPECT_EQ(forecast->samples, 300U);
  EXPECT_TRUE(forecast->rose);
  EXPECT_GE(forecast->changed_at, 200 * 300);
  EXPECT_LE(forecast->changed_at, 210 * 300);
}

TEST(UsageForecast, NeedsAPastThatIsNotEndless) {
  EXPECT_FALSE(forecast_usage({}, std::nullopt));
  EXPECT_FALSE(forecast_usage(Points{{0, 1, 1}}, std::nullopt));
  EXPECT_EQ(forecast_usage(Points{{0, 1, 1}, {1e12, 1, 1}}, std::nullopt).error().code,
            ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace forerun::cli
