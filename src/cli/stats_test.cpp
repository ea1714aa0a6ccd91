#include "cli/stats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace forerun::cli {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kStats =
    R"({"name":"web-1","as_of":"2026-11-21T02:40:00Z","uptime_seconds":20,
  "reads":1234,"read_bytes":47185920,"stalled_now":true,"stall_seconds":5,"stall_bin_seconds":0.1,
  "stall_bin_ms":[100,50,0],"demand_reads":56,"demand_p50_seconds":0.012,"demand_p99_seconds":0.08,
  "issued_chunks":400,"hit_chunks":380,"late_chunks":10,"wasted_chunks":4,"undecided_chunks":6,
  "prefetch_budget_bytes":67108864,"models":[
   {"name":"replay","phase":"boot","said_blocks":1000,"came_true_blocks":930,
    "issued_chunks":300,"used_chunks":290,"wasted_chunks":9,
    "issued_bytes":7340032,"times_muted":1,"muted_changed_seconds":61,
    "calibration_gap_ratio":0.02,"muted":false,"bins":[
    {"said_ratio":0.85,"happened_ratio":0.8,"count":500},
    {"said_ratio":0.1,"happened_ratio":0,"count":0}]},
   {"name":"stride","phase":"work","said_blocks":10,"came_true_blocks":0,"muted":true,
    "muted_changed_seconds":12,"proposals_true_ratio":0.1,"phase_changes":2,
    "phase_changed_seconds":3}],
  "phase":"work","phase_seconds":90,"prefetch_earned_bytes":100663296,
  "prefetch_useful_ratio":0.93})";

TEST(Stats, AVmInWords) {
  EXPECT_EQ(
      *vm_stats_text(kStats, true),
      "web-1, up 20 s, as of 2026-11-21T02:40:00Z\n"
      "stalled    5 s (25 % of its time), and now\n"
      "timeline   |%= | from the start, 100 ms a cell\n"
      "reads      1,234 (45 MiB); 56 waited for the link: half under 12 ms, 99 % under 80 ms\n"
      "writes     0 (0 B)\n"
      "foreseen   400 chunks fetched ahead: 380 hit, 10 late, 4 wasted, 6 not decided yet\n"
      "link       0 B on demand, 0 B ahead, of which 0 B wasted; may fetch 64 MiB more ahead "
      "now\n");
}

TEST(Stats, ModelsWithVerdictAndCalibration) {
  const std::string text = *models_text(kStats);
  EXPECT_THAT(text, HasSubstr("97 % of what it fetched was used"));
  EXPECT_THAT(text, HasSubstr("; was muted, heard again 61 s ago\n"));
  EXPECT_THAT(text, HasSubstr("muted 12 s ago: of what it would fetch 10 % came true; still "
                              "watched; forgot 2 times (last 3 s ago)"));
  EXPECT_THAT(text, HasSubstr("phase      at work for 90 s\n"));
  EXPECT_THAT(text, HasSubstr("64 MiB may be fetched ahead now, of 96 MiB earned; 93 %"));
  EXPECT_THAT(text, HasSubstr("SAID  HAPPENED  BLOCKS\n85 %      80 %     500\n"));
}

TEST(Stats, WithoutModelsItSaysWhy) {
  EXPECT_EQ(*models_text(R"({"name":"a","models":[]})"),
            "No model watches this VM: prefetch is off.\n");
}

TEST(Stats, AHostInWords) {
  const std::string text =
      *host_stats_text(R"({"version":"0.1.0","uptime_seconds":60,"accelerator":"tcg",
    "vms_running":2,"tier":{"memory_bytes":1048576,"memory_hits":3,"misses":1},
    "link":{"repository":"http://r","rate_bytes_per_second":2500000,"round_trip_seconds":0.02,
    "classes":[{"name":"critical","done":4,"waited_seconds":0.2}]}})");
  EXPECT_THAT(text, HasSubstr("75 % of lookups found"));
  EXPECT_THAT(text, HasSubstr("http://r: 2.38 MiB/s, round trip 20 ms"));
  EXPECT_THAT(text, HasSubstr("50 ms\n"));
}

TEST(Stats, AnAnswerWithOddTypesIsSurvived) {
  EXPECT_TRUE(vm_stats_text(R"({"name":7,"stall_bin_ms":["x",{}],"models":{},"reads":-1})", true));
  EXPECT_TRUE(models_text(R"({"models":[1,"x",{"bins":[2]}]})"));
  EXPECT_TRUE(host_stats_text(R"({"tier":[],"link":{"classes":[null]}})"));
  EXPECT_FALSE(vm_stats_text("[]", true));
  EXPECT_FALSE(vm_stats_text("", true));
}

}  // namespace
}  // namespace forerun::cli
