#include <gtest/gtest.h>

#include "command.h"
#include "lane.h"

namespace forerun::link {
namespace {

Time at(Nanos since_start) { return kTimeZero + since_start; }

// 1 MB/s, 10 ms: a kilobyte takes a millisecond.
constexpr LinkSettings kSlow{1'000'000, 10ms};

TEST(Lane, ASegmentArrivesAfterSerialisationAndDelay) {
  Lane lane(kSlow);
  lane.push(1, Buffer(1000), false, at(5ms));
  EXPECT_EQ(lane.next_due(), at(16ms));
  EXPECT_FALSE(lane.pop_due(at(16ms) - 1ns));
  EXPECT_EQ(lane.pop_due(at(16ms))->data.size(), 1000u);
}

TEST(Lane, ConnectionsShareTheBottleneckInOrderOfArrival) {
  Lane lane(kSlow);
  lane.push(1, Buffer(4000), false, at(0ms));
  lane.push(2, Buffer(1000), false, at(0ms));
  EXPECT_EQ(lane.pop_due(at(14ms))->connection, 1u);
  EXPECT_EQ(lane.next_due(), at(15ms));
}

TEST(Lane, AnIdleLinkGivesNoCredit) {
  Lane lane(kSlow);
  lane.push(1, Buffer(1000), false, at(0ms));
  lane.push(1, Buffer(1000), false, at(1000ms));
  EXPECT_TRUE(lane.pop_due(at(11ms)));
  EXPECT_EQ(lane.next_due(), at(1011ms));
}

TEST(Lane, RefusesBeyondItsQueueUntilItHasDrained) {
  Lane lane(kSlow);
  lane.push(1, Buffer(Lane::kQueueBytesMax + 1000), false, at(0ms));
  EXPECT_FALSE(lane.admits(at(0ms)));
  const Time later = lane.admits_at(at(0ms));
  EXPECT_LE(later, at(2ms));
  EXPECT_TRUE(lane.admits(later));
}

TEST(Lane, AnUnlimitedLaneAlwaysAdmits) {
  Lane lane({0, 1ms});
  lane.push(1, Buffer(10 * Lane::kQueueBytesMax), false, at(0ms));
  EXPECT_TRUE(lane.admits(at(0ms)));
  EXPECT_EQ(lane.next_due(), at(1ms));
}

TEST(Lane, AShorterDelayNeverReorders) {
  Lane lane(kSlow);
  lane.push(1, Buffer(1000), false, at(0ms));
  lane.change({1'000'000, 0ms});
  lane.push(1, {}, true, at(1ms));
  EXPECT_FALSE(lane.pop_due(at(11ms))->is_end);
  EXPECT_TRUE(lane.pop_due(at(11ms))->is_end);
}

TEST(Lane, TheQuantumIsAMillisecondOfTheLink) {
  EXPECT_EQ(Lane({100, 0ms}).quantum(), 1448u);
  EXPECT_EQ(Lane({12'500'000, 0ms}).quantum(), 12'500u);
  EXPECT_EQ(Lane({0, 0ms}).quantum(), 64 * kKiB);
}

TEST(LinkCommand, ReadsRatesAndDelays) {
  EXPECT_EQ(parse_rate("20mbit").value(), 2'500'000u);
  EXPECT_EQ(parse_rate("1.5gbit").value(), 187'500'000u);
  EXPECT_EQ(parse_rate("none").value(), 0u);
  EXPECT_EQ(parse_delay("10ms").value(), 10ms);
  EXPECT_EQ(parse_delay("2.5ms").value(), 2500us);
  EXPECT_EQ(parse_delay("0").value(), 0ms);
}

TEST(LinkCommand, RefusesWhatItDoesNotUnderstand) {
  for (const char* text : {"", "20", "mbit", "-1mbit", "nanmbit", "inf", "0mbit", "9999gbit"}) {
    EXPECT_FALSE(parse_rate(text)) << text;
  }
  for (const char* text : {"", "10", "ms", "-1ms", "nans", "2h", "4000s"}) {
    EXPECT_FALSE(parse_delay(text)) << text;
  }
  for (const char* text : {"", "Cut", "rate", "rate ", "rate x", "delay 5", "stats now"}) {
    EXPECT_FALSE(parse_command(text)) << text;
  }
}

TEST(LinkCommand, ReadsCommands) {
  EXPECT_EQ(parse_command("cut")->kind, Command::Kind::kCut);
  EXPECT_EQ(parse_command("rate 8kbit")->rate_bytes_per_s, 1000u);
  EXPECT_EQ(parse_command("delay 1s")->delay, 1s);
}

}  // namespace
}  // namespace forerun::link
