#include "telemetry/usage.h"

#include <gmock/gmock.h>

namespace forerun::telemetry {
namespace {

std::map<std::string_view, double> by_name(const std::vector<MetricValue>& values) {
  std::map<std::string_view, double> named;
  for (const MetricValue& value : values) named[value.metric] = value.value;
  return named;
}

TEST(Usage, OfAHostIsWhatItsCpusDidAndWhatIsTaken) {
  auto before =
      parse_proc_stat("cpu  100 0 50 1000 7 0 3 0 0 0\ncpu0 1 2\ncpu1 1 2\nintr 5\n", 100);
  auto after = parse_proc_stat("cpu  400 0 150 1600 9 0 3 0 99 0\ncpu0 1 2\ncpu1 1 2\n", 100);
  ASSERT_TRUE(before && after);
  ASSERT_TRUE(parse_meminfo("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:\t 400 kB\n", *after));
  before->cpu_stall_seconds = parse_pressure("some avg10=1.00 avg60=0 avg300=0 total=1000000\n");
  after->cpu_stall_seconds = parse_pressure("some avg10=1.00 avg60=0 avg300=0 total=6000000\nfull");
  const auto usage = by_name(usage_between(*before, *after, 10));
  EXPECT_DOUBLE_EQ(usage.at("cpu_cores"), 0.4);
  EXPECT_DOUBLE_EQ(usage.at("cpu_total_cores"), 2);
  EXPECT_DOUBLE_EQ(usage.at("memory_bytes"), 600 * 1024);
  EXPECT_DOUBLE_EQ(usage.at("cpu_stall_ratio"), 0.5);
  EXPECT_FALSE(usage.contains("io_stall_ratio")) << "no PSI, no figure";
}

TEST(Usage, OfAProcessIsTheSumOfItsThreads) {
  ProcessCounters before, after;
  EXPECT_TRUE(add_schedstat("1000000000 500000000 12\n", before));
  EXPECT_TRUE(add_schedstat("6000000000 500000000 12\n", after));
  EXPECT_TRUE(add_schedstat("2000000000 2500000000 3\n", after));
  after.resident_bytes = *parse_statm("99 25 3 1 0 5 0\n", 4096);
  const auto usage = by_name(usage_between(before, after, 10));
  EXPECT_DOUBLE_EQ(usage.at("cpu_cores"), 0.7);
  EXPECT_DOUBLE_EQ(usage.at("cpu_wait_cores"), 0.25);
  EXPECT_DOUBLE_EQ(usage.at("memory_bytes"), 102400);
  const auto back = by_name(usage_between(after, before, 10));  // a thread ended
  EXPECT_DOUBLE_EQ(back.at("cpu_cores"), 0);
}

TEST(Usage, AGuestsProcessorsWaitEachForItself) {
  EXPECT_EQ(vcpu_of_thread("CPU 12/KVM\n"), 12u);
  EXPECT_EQ(vcpu_of_thread("CPU 0/TCG\n"), 0u);
  for (const char* other : {"", "CPU 0", "CPU x/KVM\n", "IO mon_iothread\n", "CPU 99999/KVM\n"})
    EXPECT_FALSE(vcpu_of_thread(other)) << other;
  ProcessCounters before, after;
  before.vcpu_wait_seconds = {{0, 1}, {1, 5}};
  after.vcpu_wait_seconds = {{0, 2}, {1, 8}, {2, 9}};  // one was added since
  const auto values = usage_between(before, after, 10);
  EXPECT_EQ(values.back().metric, "vcpu_wait_ratio");
  EXPECT_DOUBLE_EQ(values.back().value, 0.2);
  EXPECT_DOUBLE_EQ(*values.back().most, 0.3);
  EXPECT_FALSE(by_name(usage_between(before, {}, 10)).contains("vcpu_wait_ratio"));
}

TEST(Usage, WhoWaitsWouldHaveRunMore) {
  EXPECT_DOUBLE_EQ(demand_cores(1, 0, 2), 1);
  EXPECT_DOUBLE_EQ(demand_cores(1, 0.5, 2), 1 / 0.75);
  EXPECT_DOUBLE_EQ(demand_cores(1, 1.9, 2), 2) << "not more than it has";
  EXPECT_DOUBLE_EQ(demand_cores(1, 0.5, 0), 1);
}

TEST(Usage, WhatTheKernelDoesNotSayIsNothing) {
  HostCounters host;
  ProcessCounters process;
  EXPECT_FALSE(parse_proc_stat("", 100));
  EXPECT_FALSE(parse_proc_stat("cpu  1 2 3\ncpu0 1\n", 100));
  EXPECT_FALSE(parse_meminfo("MemTotal: 5 kB\n", host));
  EXPECT_FALSE(parse_pressure("full avg10=0 total=5"));
  EXPECT_FALSE(add_schedstat("5", process));
  EXPECT_FALSE(parse_statm("5", 4096));
}

}  // namespace
}  // namespace forerun::telemetry
