#include "forecast/launch_outlook.h"

#include <gmock/gmock.h>

namespace forerun::forecast {
namespace {

using trace::LaunchBatch;
using trace::LaunchBin;

constexpr uint64_t kStart = 1'790'000'040;  // a whole minute
constexpr LaunchOutlook::Options kMinutes{};

LaunchBin launch(uint64_t second, uint32_t manifest, const std::string& host = "") {
  return {second, {LaunchBatch{{{manifest, 1}}, {}, host}}};
}

std::unique_ptr<LaunchOutlook> outlook(uint32_t manifests, std::vector<std::string> hosts = {"a"}) {
  return std::move(*LaunchOutlook::make(kMinutes, {std::move(hosts), {}}, manifests));
}

float probability_of(const LaunchOutlook& outlook, uint32_t manifest) {
  for (const LaunchExpectation& one : outlook.ranked())
    if (one.manifest == manifest) return one.probability;
  return -1;
}

TEST(LaunchOutlook, SaysNothingBeforeItKnowsTheTime) { EXPECT_TRUE(outlook(2)->ranked().empty()); }

TEST(LaunchOutlook, ChangesOncePerTick) {
  auto one = outlook(2);
  EXPECT_TRUE(one->advance(kStart));
  EXPECT_TRUE(one->advance(kStart + 1));
  EXPECT_FALSE(one->advance(kStart + 59));
  EXPECT_FALSE(one->advance(kStart - 500));
  EXPECT_TRUE(one->advance(kStart + 61));
}

// Manifest 0 at each quarter of an hour, 1 rarely.
TEST(LaunchOutlook, ExpectsWhatComesRegularly) {
  auto one = outlook(3);
  for (uint64_t at = 0; at < 2 * 86400; at += 900) {
    one->on_bin(launch(kStart + at, 0));
    if (at % 43200 == 5400) one->on_bin(launch(kStart + at + 30, 1));
  }
  one->advance(kStart + 2 * 86400 - 900 + 420);  // 8 min before the next one
  const auto ranked = one->ranked();
  ASSERT_EQ(ranked.size(), 3U);
  EXPECT_EQ(ranked[0].manifest, 0U);
  EXPECT_GT(ranked[0].probability, 0.5);
  EXPECT_LT(ranked[1].probability, 0.15);
  EXPECT_GT(ranked[0].due_second, kStart + 2 * 86400 - 900 + 360);
  EXPECT_LT(ranked[0].due_second, kStart + 2 * 86400 - 900 + 420 + 600);
  ASSERT_EQ(ranked[0].pieces.size(), 6U);
  EXPECT_EQ(ranked[0].pieces[0].name, "volume");
}

TEST(LaunchOutlook, LearnsLiveAsFromAHistory) {
  auto live = outlook(2), taught = outlook(2);
  for (uint64_t at = 0; at < 21600; at += 60) {
    live->advance(kStart + at + 1);
    if (at % 1200 == 0) live->on_bin(launch(kStart + at + 30, 0));
    if (at % 1200 == 0) taught->on_bin(launch(kStart + at + 30, 0));
  }
  live->advance(kStart + 21601);
  taught->advance(kStart + 21601);
  EXPECT_EQ(live->ticks_learned(), taught->ticks_learned());
  EXPECT_EQ(probability_of(*live, 0), probability_of(*taught, 0));
}

TEST(LaunchOutlook, TakesAnHourForQuietAndMoreForNotObserved) {
  auto one = outlook(2);
  one->on_bin(launch(kStart, 0));
  one->on_bin(launch(kStart + 3600, 0));
  EXPECT_EQ(one->ticks_learned(), 60U);
  one->on_bin(launch(kStart + 3600 + 7200, 0));
  EXPECT_EQ(one->ticks_learned(), 61U);
}

TEST(LaunchOutlook, TellsItsHostFromOthers) {
  auto one = outlook(2, {"a", "b"});
  for (uint64_t at = 0; at < 2 * 86400; at += 600) {
    one->on_bin(launch(kStart + at, 0, "b"));
    one->on_bin(launch(kStart + at, 1, "a"));
    one->on_bin(launch(kStart + at, 0, "unknown"));
  }
  one->advance(kStart + 2 * 86400);
  EXPECT_GT(probability_of(*one, 1), 3 * probability_of(*one, 0));
}

TEST(LaunchOutlook, LeavesOutManifestsBeyondItsNumber) {
  auto one = outlook(1);
  one->on_bin(launch(kStart, 7));
  one->advance(kStart + 60);
  EXPECT_EQ(one->ranked().size(), 1U);
}

TEST(LaunchOutlook, SaysWhatSimpleRulesWould) {
  auto one = outlook(3);
  ASSERT_THAT(LaunchOutlook::rules(), ::testing::ElementsAre("last_value", "most_frequent"));
  for (int i = 0; i < 5; ++i) one->on_bin(launch(kStart + 60 * i, 0));
  one->on_bin(launch(kStart + 600, 1));
  one->advance(kStart + 700);
  const auto last = one->ranks_by(0), frequent = one->ranks_by(1);
  EXPECT_GT(last[1], last[0]);
  EXPECT_GT(frequent[0], frequent[1]);
  EXPECT_EQ(frequent[2], 0);
}

TEST(LaunchOutlook, RefusesShapesOverTheLimits) {
  EXPECT_FALSE(LaunchOutlook::make(kMinutes, {{"a"}, {}}, 5000));
  EXPECT_FALSE(LaunchOutlook::make(kMinutes, {}, 1));
  EXPECT_FALSE(LaunchOutlook::make({.tick_s = 1, .window_ticks = 600}, {{"a"}, {}}, 1));
}

}  // namespace
}  // namespace forerun::forecast
