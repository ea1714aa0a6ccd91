#include "place/fleet_world.h"

#include <gmock/gmock.h>

#include "place/grown_trace.h"
#include "place/policies.h"

namespace forerun::place {
namespace {

constexpr size_t kSamples = 12;  // an hour
constexpr double kHour_s = 3600;

// A VM of one core of 1000 MHz that is always as busy.
trace::VmSeries vm(uint16_t percent, uint32_t memory_mb, double mhz = 1000) {
  return {.name = "vm",
          .capacity_mhz = mhz,
          .memory_mb = memory_mb,
          .cpu_permille = std::vector<uint16_t>(kSamples, percent * 10),
          .memory_used_mb = std::vector<uint32_t>(kSamples, memory_mb),
          .network_kb_per_s = std::vector<uint32_t>(kSamples, 0)};
}

// Hosts of two cores of 1000 MHz with 4000 MB and a link of 100 MB/s.
FleetWorld::Options small(int hosts) {
  return {.hosts = hosts,
          .cores = 2,
          .core_mhz = 1000,
          .memory_mb = 4000,
          .link_mb_per_s = 100,
          .dirty_mb_per_core_s = 50,
          .progress = {}};
}

// Puts VMs where it is told, and moves others at the first tick.
class Scripted final : public SimPolicy {
 public:
  Scripted(std::vector<int> first, std::vector<SimMove> moves)
      : first_(std::move(first)), moves_(std::move(moves)) {}
  int first_host(const SimWorld& /*world*/, int v) override {
    return first_[static_cast<size_t>(v)];
  }
  std::vector<SimMove> round(const SimWorld& world) override {
    return world.ticks() == 1 ? moves_ : std::vector<SimMove>();
  }

 private:
  std::vector<int> first_;
  std::vector<SimMove> moves_;
};

SimResult run(const trace::VmTrace& trace, FleetWorld::Options options, SimPolicy&& policy) {
  FleetWorld world(trace, std::move(options));
  auto result = world.run(policy);
  EXPECT_TRUE(result) << result.error().message;
  return *result;
}

TEST(FleetWorld, AMoveTakesItsMemoryOverTheLink) {
  const trace::VmTrace trace{.vms = {vm(0, 1000)}};
  const SimResult result = run(trace, small(2), Scripted({0}, {{0, 1}}));
  EXPECT_EQ(result.migrations, 1U);
  EXPECT_NEAR(result.moving_s, 10, 1e-6);
  EXPECT_NEAR(result.moved_gb, 1000.0 / 1024, 1e-6);
  EXPECT_NEAR(result.active_host_hours, 1 + 10 / kHour_s, 1e-9);  // both are on meanwhile
}

TEST(FleetWorld, WhatAGuestDirtiesIsSentAgain) {
  const trace::VmTrace trace{.vms = {vm(100, 1000)}};  // 50 MB/s of the link's 100
  const SimResult result = run(trace, small(2), Scripted({0}, {{0, 1}}));
  EXPECT_NEAR(result.moving_s, 20, 1e-6);
  EXPECT_NEAR(result.moved_gb, 2000.0 / 1024, 1e-6);
  // A tenth for 20 s and the downtime of 0.3 s, of an hour.
  EXPECT_NEAR(result.sla.pdm, (2 + 0.3) / kHour_s, 1e-9);
  EXPECT_EQ(result.contention_s, 0);
}

TEST(FleetWorld, MovesAndGuestsShareALink) {
  trace::VmTrace trace{.vms = {vm(0, 1000), vm(0, 1000)}};
  EXPECT_NEAR(run(trace, small(3), Scripted({0, 0}, {{0, 1}, {1, 2}})).moving_s, 40, 1e-6);
  trace.vms[1].network_kb_per_s.assign(kSamples, 50 * 1024);
  EXPECT_NEAR(run(trace, small(3), Scripted({0, 0}, {{0, 1}})).moving_s, 20, 1e-6);
}

TEST(FleetWorld, NoHostIsGivenMoreMemoryThanItHas) {
  const trace::VmTrace trace{.vms = {vm(10, 3000), vm(10, 3000)}};
  const SimResult result = run(trace, small(2), Scripted({0, 1}, {{0, 1}}));
  EXPECT_EQ(result.migrations, 0U);
  EXPECT_EQ(result.moves_refused, 1U);
  EXPECT_EQ(result.memory_share_max, 0.75);
}

TEST(FleetWorld, AMoveWaitsForMemoryThatAnotherSetsFree) {
  const trace::VmTrace trace{.vms = {vm(10, 3000), vm(10, 3000)}};
  const SimResult result = run(trace, small(3), Scripted({0, 1}, {{0, 1}, {1, 2}}));
  EXPECT_EQ(result.migrations, 2U);
  EXPECT_EQ(result.moves_refused, 0U);
  EXPECT_LE(result.memory_share_max, 1);
}

TEST(FleetWorld, OverloadIsSharedAndCounted) {
  const trace::VmTrace trace{.vms = {vm(100, 100, 2000), vm(100, 100)}};  // 3000 of 2000 MHz
  const SimResult result = run(trace, small(1), Scripted({0, 0}, {}));
  EXPECT_NEAR(result.contention_s, kHour_s, 1e-9);
  EXPECT_NEAR(result.waited_vm_s, 2 * kHour_s / 3, 1e-6);
  EXPECT_NEAR(result.sla.unserved, 1.0 / 3, 1e-9);
  EXPECT_EQ(result.sla.pdm, 0);
  EXPECT_EQ(result.sla.slatah_corrected, 1);
  EXPECT_NEAR(result.kwh, 0.4, 1e-9);  // all that a host draws, for an hour
}

TEST(FleetWorld, PoliciesKnowWhatWasAskedNotWhatWillBe) {
  trace::VmTrace trace{.vms = {vm(10, 100)}};
  trace.vms[0].cpu_permille[1] = 900;
  struct Watching final : SimPolicy {
    std::vector<double> seen;
    int first_host(const SimWorld& /*world*/, int /*vm*/) override { return 0; }
    std::vector<SimMove> round(const SimWorld& world) override {
      seen.push_back(world.vms()[0].demand);
      return {};
    }
  } watching;
  FleetWorld world(trace, small(1));
  ASSERT_TRUE(world.run(watching));
  EXPECT_EQ(watching.seen.size(), kSamples - 1);
  EXPECT_EQ(watching.seen[0], 100);
  EXPECT_EQ(watching.seen[1], 900);
}

TEST(FleetWorld, VmsThatFitNoHostAreLeftOut) {
  const trace::VmTrace trace{.vms = {vm(10, 5000), vm(10, 100)}};
  FleetWorld world(trace, small(1));
  EXPECT_EQ(world.left_out(), 1U);
  ASSERT_TRUE(world.run(*make_policy("forerun")));
}

TEST(FleetWorld, TooFewHostsAreAnError) {
  const trace::VmTrace trace{.vms = {vm(10, 3000), vm(10, 3000)}};
  FleetWorld world(trace, small(1));
  const auto result = world.run(*make_policy("dvfs"));
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, testing::HasSubstr("VM 2 of 2"));
  EXPECT_EQ(FleetWorld::hosts_for(trace, small(0)), 2);
}

TEST(FleetWorld, EveryPolicyKeepsWithinMemoryAndRepeatsItself) {
  const trace::VmTrace one{.vms = {vm(10, 300), vm(50, 700), vm(90, 1100)}};
  const trace::VmTrace trace = grow(one, 60, 7);
  for (const auto name : policy_names()) {
    const SimResult result = run(trace, small(30), std::move(*make_policy(name, 3)));
    EXPECT_LE(result.memory_share_max, 1) << name;
    EXPECT_EQ(run(trace, small(30), std::move(*make_policy(name, 3))).kwh, result.kwh) << name;
  }
}

TEST(Grow, TheSeedDecidesTheFleet) {
  trace::VmTrace one{.vms = {vm(10, 300)}};
  for (size_t i = 0; i < kSamples; ++i) one.vms[0].cpu_permille[i] = static_cast<uint16_t>(80 * i);
  const trace::VmTrace fleet = grow(one, 20, 1);
  ASSERT_EQ(fleet.vms.size(), 20U);
  EXPECT_EQ(fleet.vms[3].cpu_permille, grow(one, 20, 1).vms[3].cpu_permille);
  EXPECT_NE(fleet.vms[3].cpu_permille, grow(one, 20, 2).vms[3].cpu_permille);
  for (const trace::VmSeries& each : fleet.vms) {
    ASSERT_EQ(each.cpu_permille.size(), kSamples);
    for (const uint16_t permille : each.cpu_permille) EXPECT_LE(permille, 1000);
  }
}

}  // namespace
}  // namespace forerun::place
