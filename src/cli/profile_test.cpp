#include "cli/profile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace forerun::cli {
namespace {

using ::testing::HasSubstr;

TEST(VmProfile, ShowsTheNewestAndTheWindow) {
  const auto text = vm_profile_text(
      R"({"taken":7,"lost":0,"age_seconds":0.5,"window_seconds":6,"window_profiles":7,)"
      R"("refused":[{"reason":"not_json","lines":2}],)"
      R"("window":[{"name":"cpu_busy","last":0.5,"mean":0.4,"min":0.1,"max":0.6}],)"
      R"("profile":{"period_ms":1000,"cpu":{"cores":2,"busy_ratio":0.5,"steal_ratio":0,)"
      R"("top":[{"name":"redis\u001b","cores":0.75}],)"
      R"("threads":[{"name":"bio_close_file","cores":0.5},{"name":"redis","cores":0.25}]},)"
      R"("pattern":{"samples":512,"shares":{"scan":0.75,"random":0.25}},)"
      R"("missing":[{"metric":"pressure","reason":"none"}]}})");
  ASSERT_TRUE(text.has_value());
  EXPECT_THAT(*text, HasSubstr("profiles  7 taken, 0 lost, 2 refused (not_json); the newest"));
  EXPECT_THAT(*text, HasSubstr("cpu       2 cores, 50 % busy, "));
  EXPECT_THAT(*text, HasSubstr("redis? 0.75"));
  EXPECT_THAT(*text, HasSubstr("threads   bio_close_file 0.50, redis 0.25\n"));
  EXPECT_THAT(*text, HasSubstr("pattern   scan 75 %, random 25 %; 512 samples"));
  EXPECT_THAT(*text, HasSubstr("missing   pressure: none"));
  EXPECT_THAT(*text, HasSubstr("cpu_busy"));
}

TEST(VmProfile, ShowsWhatIsAsked) {
  const auto text = vm_profile_text(
      R"({"taken":0,"asked":{"period_ms":500,"metrics":["cpu","memory"]},"profile":null})");
  ASSERT_TRUE(text.has_value());
  EXPECT_THAT(*text, HasSubstr("asked     every 500 ms; cpu, memory\n"));
}

TEST(VmProfile, AsksForAPeriodAndMetrics) {
  EXPECT_EQ(*profile_request({"a", "500ms", {"cpu", "io", "net"}}),
            R"({"period_ms":500,"metrics":["cpu","disks","networks"]})");
  EXPECT_EQ(*profile_request({"a", "1m", {}}), R"({"period_ms":60000})");
  EXPECT_EQ(profile_request({"a", "50ms", {}}).error().message,
            "--period 50ms: it may be from 100 ms to 3600 s");
  EXPECT_THAT(profile_request({"a", "", {"cpus"}}).error().message,
              HasSubstr("--metrics cpus: there are all, cpu, memory, working_set"));
}

TEST(VmProfile, SaysThatNoAgentHasSpoken) {
  const auto text = vm_profile_text(R"({"taken":0,"profile":null})");
  ASSERT_TRUE(text.has_value());
  EXPECT_THAT(*text, HasSubstr("none has spoken"));
  EXPECT_FALSE(vm_profile_text("[]").has_value());
}

}  // namespace
}  // namespace forerun::cli
