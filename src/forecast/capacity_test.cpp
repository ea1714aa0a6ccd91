#include "forecast/capacity.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/rng.h"
#include "forecast/change_watch.h"

namespace forerun::forecast {
namespace {

constexpr double kHour_s = 3600, kDay_s = 86400;

TEST(KnownEvents, CountWhileTheyLastAndAgainEveryPeriod) {
  const KnownEvent nightly{.from_s = kHour_s, .to_s = 3 * kHour_s, .period_s = kDay_s};
  EXPECT_FALSE(counts_at(nightly, 0));
  EXPECT_TRUE(counts_at(nightly, 2 * kHour_s));
  EXPECT_FALSE(counts_at(nightly, 4 * kHour_s));
  EXPECT_TRUE(counts_at(nightly, 5 * kDay_s + 2 * kHour_s));
  const KnownEvent once{.from_s = kHour_s, .to_s = 3 * kHour_s};
  EXPECT_FALSE(counts_at(once, 5 * kDay_s + 2 * kHour_s));
}

TEST(KnownEvents, ChangeDemandAndCapacity) {
  const std::vector<KnownEvent> events = {
      {.from_s = 0, .to_s = 10 * kDay_s, .growth_per_day = 0.1},
      {.from_s = 0, .to_s = 10 * kDay_s, .factor = 2, .added = 5, .capacity_factor = 0.5}};
  const DemandForecast changed = with_events({10, 2}, events, 2 * kDay_s);
  EXPECT_NEAR(changed.mean, 10 * 2 * 1.21 + 5, 1e-9);
  EXPECT_NEAR(changed.sd, 2 * 2 * 1.21, 1e-9);
  EXPECT_EQ(capacity_with_events(8, events, kDay_s), 4);
  EXPECT_EQ(with_events({10, 2}, events, 20 * kDay_s).mean, 10);
}

TEST(Capacity, ContentionIsTheTailOfTheNormal) {
  EXPECT_NEAR(contention_probability({"a", 100, {80, 20}}), 0.1587, 1e-4);
  EXPECT_NEAR(contention_probability({"a", 100, {100, 20}}), 0.5, 1e-12);
  EXPECT_EQ(contention_probability({"a", 100, {80, 0}}), 0);
  EXPECT_EQ(contention_probability({"a", 100, {101, 0}}), 1);
}

TEST(Capacity, AZoneKeepsRoomForAnother) {
  // Two zones of two hosts of 100. East asks for 120 of 200, west for 60.
  const std::vector<HostOutlook> hosts = {{"east", 100, {60, 3}},
                                          {"east", 100, {60, 4}},
                                          {"west", 100, {30, 0}},
                                          {"west", 100, {30, 0}}};
  const auto zones = zone_outlooks(hosts, 2, 0);
  ASSERT_EQ(zones.size(), 2U);
  EXPECT_EQ(zones[0].zone, "east");
  EXPECT_NEAR(zones[0].demand.sd, 5, 1e-9);  // 3 and 4 are independent
  EXPECT_NEAR(zones[0].spare, 200 - 120 - 2 * 5, 1e-9);
  EXPECT_NEAR(zones[0].spare_if_other_fails, 10, 1e-9);  // 60 more
  EXPECT_EQ(zones[0].worst_other, "west");
  EXPECT_NEAR(zones[1].spare_if_other_fails, 200 - 180 - 2 * 5, 1e-9);
  EXPECT_NEAR(zone_outlooks(hosts, 2, 1)[0].demand.sd, 7, 1e-9);  // in step
}

TEST(Capacity, OfThreeZonesTheWorstOtherCounts) {
  const std::vector<HostOutlook> hosts = {
      {"a", 100, {50, 0}}, {"b", 100, {20, 0}}, {"c", 100, {90, 0}}};
  const auto zones = zone_outlooks(hosts, 2, 0);
  // Without c, its 90 come to a (50 spare) and b (80 spare) by these parts.
  EXPECT_EQ(zones[0].worst_other, "c");
  EXPECT_NEAR(zones[0].spare_if_other_fails, 50 - 90 * 50.0 / 130, 1e-9);
  EXPECT_NEAR(zones[1].spare_if_other_fails, 80 - 90 * 80.0 / 130, 1e-9);
  EXPECT_TRUE(zone_outlooks(std::span(hosts).first(1), 2, 0)[0].worst_other.empty());
}

double noise(Rng& rng) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += rng.unit();
  return sum;
}

TEST(ChangeWatch, NoiseIsNoChangeAndOneSpikeIsAnAnomaly) {
  ChangeWatch watch({});
  Rng rng(1);
  int alarms = 0;
  for (int i = 0; i < 3000; ++i) alarms += watch.observe(100 + 5 * noise(rng)) != Seen::kNothing;
  EXPECT_LE(alarms, 2);
  EXPECT_EQ(watch.observe(200), Seen::kAnomaly);
  EXPECT_EQ(watch.observe(100), Seen::kNothing);
  EXPECT_NEAR(watch.level(), 100, 3);
}

TEST(ChangeWatch, AShiftIsSeenSoonAndTheNewLevelLearned) {
  ChangeWatch watch({});
  Rng rng(2);
  for (int i = 0; i < 500; ++i) watch.observe(100 + 5 * noise(rng));
  for (const bool rises : {true, false}) {
    const double level = rises ? 115 : 100;
    int until = 0;
    Seen seen = Seen::kNothing;
    for (; until < 40 && (seen == Seen::kNothing || seen == Seen::kAnomaly); ++until)
      seen = watch.observe(level + 5 * noise(rng));
    EXPECT_EQ(seen, rises ? Seen::kRise : Seen::kFall);
    EXPECT_LE(until, 15);
    for (int i = 0; i < 200; ++i) watch.observe(level + 5 * noise(rng));
    EXPECT_NEAR(watch.level(), level, 3);
  }
}

TEST(Capacity, WhatAnEventBroughtIsTakenOutOfThePast) {
  const std::vector<KnownEvent> events = {{.from_s = 1000, .to_s = 2000, .factor = 2, .added = 1},
                                          {.from_s = 0, .to_s = 1e9, .growth_per_day = 0.1}};
  const double grown = std::pow(1.1, 1500 / 86400.0);
  const auto inside = without_events(3 * 2 * grown + 1, events, 1500);
  EXPECT_NEAR(inside.demand, 3, 1e-9);
  EXPECT_FALSE(inside.is_usual);
  const auto after = without_events(3, events, 2000);
  EXPECT_TRUE(after.is_usual) << "growth goes on every day";
  EXPECT_NEAR(with_events({after.demand, 0}, events, 2000).mean, 3, 1e-9);
  EXPECT_DOUBLE_EQ(without_events(5, {}, 0).demand, 5);
}

}  // namespace
}  // namespace forerun::forecast
