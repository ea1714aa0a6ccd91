#include "cli/usage_contention.h"

#include <gmock/gmock.h>

#include <cmath>

namespace forerun::cli {
namespace {

using testing::HasSubstr;

// Ten days of a daily wave of demand on 4 cores, whose guests wait from 3 cores on.
ContentionPast wave() {
  ContentionPast past;
  for (int i = 0; i < 10 * 288; ++i) {
    const double at = 1.79e9 - std::fmod(1.79e9, 86400) + 300.0 * i;
    const double demand = 2 + 1.5 * std::sin(2 * M_PI * i / 288);
    past.demand.push_back({at, demand, demand});
    past.capacity.push_back({at, 4, 4});
    past.vcpu_wait.push_back({at, demand > 3 ? 0.2 : 0.001, 0});
  }
  return past;
}

TEST(UsageContention, AWaveThatMakesGuestsWaitIsForeseen) {
  const ContentionPast past = wave();
  const auto report = forecast_contention(past);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->labelled, 2880u);
  EXPECT_GT(report->contended, 500u);
  const auto& half_hour = report->scores[2];
  EXPECT_LT(half_hour.brier, 0.25 * half_hour.brier_base);
  EXPECT_LT(half_hour.brier, half_hour.brier_raw);
  EXPECT_LT(report->outlooks[2].probability, 0.1) << "the day begins calmly";
  EXPECT_GT(report->outlooks[4].probability, 0.6) << "within six hours the wave comes";
  EXPECT_THAT(contention_table(*report, "host"), HasSubstr("CONTENTION %"));
  EXPECT_THAT(contention_table(*report, "host"), HasSubstr("said of 30 min"));
  EXPECT_THAT(contention_json(*report), HasSubstr("\"brier_base_rate\""));
}

TEST(UsageContention, WithoutLabelsItSaysWhatDemandAloneSays) {
  ContentionPast past = wave();
  past.vcpu_wait.clear();
  const auto report = forecast_contention(past);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->labelled, 0u);
  EXPECT_EQ(report->scores[0].count, 0u);
  EXPECT_THAT(contention_table(*report, "host"), HasSubstr("0 of 0 spans"));
  past.capacity.clear();
  EXPECT_EQ(forecast_contention(past).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(forecast_contention({}).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace forerun::cli
