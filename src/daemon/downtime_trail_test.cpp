#include "daemon/downtime_trail.h"

#include <gtest/gtest.h>

namespace forerun::daemon {
namespace {

constexpr Time kStopped{1000s};

std::vector<std::pair<std::string, int>> in_ms(const DowntimeTrail& trail) {
  std::vector<std::pair<std::string, int>> steps;
  for (const DowntimeStep& step : trail.steps())
    steps.emplace_back(step.name, static_cast<int>(step.took / 1ms));
  return steps;
}

TEST(DowntimeTrail, StepsFollowEachOther) {
  DowntimeTrail trail;
  trail.begin(kStopped);
  trail.end_step("stop", kStopped + 3ms);
  trail.end_step("notice", kStopped + 4ms);
  EXPECT_EQ(in_ms(trail), (std::vector<std::pair<std::string, int>>{{"stop", 3}, {"notice", 1}}));
  EXPECT_EQ(trail.last(), kStopped + 4ms);
  EXPECT_EQ(trail.text(), "stop 3.0, notice 1.0");
}

TEST(DowntimeTrail, WhatTheOtherHostTellsIsBetweenTheTwoWaysOfTheWord) {
  DowntimeTrail trail;
  trail.begin(kStopped);
  // 40 ms between the words, 30 of them there: 5 each way.
  trail.on_ready(kStopped, 20ms, 30ms, kStopped + 40ms);
  trail.end_step("decide", kStopped + 42ms);
  // 16 ms, of which 4 there: the guest ran 6 ms before that was heard.
  trail.on_running(kStopped + 42ms, 4ms, kStopped + 58ms);
  EXPECT_EQ(in_ms(trail),
            (std::vector<std::pair<std::string, int>>{
                {"load", 25}, {"disk", 10}, {"ready", 5}, {"decide", 2}, {"run", 10}}));
  EXPECT_EQ(trail.last() - trail.stopped(), 52ms);
}

TEST(DowntimeTrail, ADiskThatWasKnownBeforeTheDevicesWereLoadedTookNoTime) {
  DowntimeTrail trail;
  trail.begin(kStopped);
  trail.on_ready(kStopped, 20ms, 8ms, kStopped + 24ms);
  EXPECT_EQ(in_ms(trail),
            (std::vector<std::pair<std::string, int>>{{"load", 22}, {"disk", 0}, {"ready", 2}}));
}

TEST(DowntimeTrail, ALengthOfMoreThanAnHourCountsAsOne) {
  EXPECT_EQ(told_length(1500), 1500us);
  EXPECT_EQ(told_length(~uint64_t{0}), 1h);
}

TEST(DowntimeTrail, LengthsThatCannotBeAreHeldWithinWhatWasSeenHere) {
  DowntimeTrail trail;
  trail.begin(kStopped);
  trail.on_ready(kStopped, 900ms, 0ms, kStopped + 10ms);
  trail.on_running(kStopped + 10ms, 900ms, kStopped + 20ms);
  trail.end_step("early", kStopped);
  EXPECT_EQ(trail.last(), kStopped + 20ms);
  EXPECT_EQ(in_ms(trail).back(), (std::pair<std::string, int>{"early", 0}));
}

TEST(DowntimeTrail, BeforeTheGuestStoppedNothingIsNoted) {
  DowntimeTrail trail;
  trail.end_step("stop", kStopped);
  EXPECT_TRUE(trail.steps().empty());
  trail.begin(kStopped);
  trail.end_step("stop", kStopped + 1ms);
  trail.begin(kStopped + 1s);
  EXPECT_TRUE(trail.steps().empty());
}

}  // namespace
}  // namespace forerun::daemon
