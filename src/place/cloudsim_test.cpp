#include <gtest/gtest.h>

#include <cmath>

#include "place/cloudsim_world.h"
#include "place/policies.h"
#include "place/reference_policies.h"

namespace forerun::place {
namespace {

// VMs that ask for `percent` all day.
trace::VmTrace constant(size_t vms, uint16_t percent) {
  trace::VmTrace trace;
  for (size_t i = 0; i < vms; ++i)
    trace.vms.push_back(
        {.name = std::to_string(i), .cpu_permille = std::vector<uint16_t>(288, percent * 10)});
  return trace;
}

SimResult run(const trace::VmTrace& trace, std::string_view policy, int hosts, bool keeps_idle) {
  CloudsimWorld world(trace, {.hosts = hosts, .keeps_idle = keeps_idle, .progress = {}});
  const auto chosen = make_policy(policy);
  auto result = world.run(*chosen);
  EXPECT_TRUE(result) << result.error().message;
  return *result;
}

TEST(PowerCurve, HasItsPointsAndIsLinearBetween) {
  EXPECT_EQ(hp_ml110_g4().at(0), 86);
  EXPECT_EQ(hp_ml110_g4().at(1), 117);
  EXPECT_EQ(hp_ml110_g5().at(0.5), 116);
  EXPECT_NEAR(hp_ml110_g5().at(0.25), 103, 1e-9);
  EXPECT_EQ(hp_ml110_g5().at(1.5), 135);
}

TEST(Allocate, GivesEachItsOwnWhileAllFit) {
  std::vector<double> got;
  const std::vector<SimDemand> demands = {
      {3000, SimRole::kHere}, {1000, SimRole::kLeaving}, {1000, SimRole::kArriving}};
  const double left = allocate(2660, 5320, demands, got);
  EXPECT_EQ(got, (std::vector<double>{2660, 900, 100}));
  EXPECT_EQ(left, 5320.0 - 2660 - 1000 - 100);
}

TEST(Allocate, ScalesAndRoundsDownWhatDoesNotFit) {
  std::vector<double> got;
  const std::vector<SimDemand> demands = {
      {1860, SimRole::kHere}, {1860, SimRole::kHere}, {930, SimRole::kHere}};
  EXPECT_EQ(allocate(1860, 3720, demands, got), 0);
  EXPECT_EQ(got, (std::vector<double>{1488, 1488, 744}));
}

TEST(Cloudsim, WithoutPowerAwarenessEveryHostDrawsItsMost) {
  const SimResult result = run(constant(4, 10), "npa", 800, true);
  EXPECT_EQ(fmt::format("{:.2f}", result.kwh), "2410.80");  // (400·117 + 400·135) W × 86,100.1 s
  EXPECT_EQ(result.migrations, 0U);
}

// Of four VMs, one per type, first fit puts the 2500 and the 2000 on the first host that has cores
// for them (number 1, a G5), the 1000 and the 500 on number 0.
TEST(Cloudsim, DvfsPaysForWhatIsUsed) {
  const SimResult result = run(constant(4, 10), "dvfs", 10, true);
  const double g4 = hp_ml110_g4().at(150.0 / 3720);
  const double g5 = hp_ml110_g5().at(450.0 / 5320);
  EXPECT_NEAR(result.kwh, (g4 + g5) * 285 * 300 / 3.6e6 + (g4 + g5) * 300 / 3.6e6, 1e-6);
  EXPECT_EQ(result.shutdowns, 8U);  // hosts that were never on count in their first state
  EXPECT_EQ(result.sla.unserved, 0);
}

TEST(Cloudsim, IdleVmsAreDestroyedUnlessKept) {
  trace::VmTrace trace = constant(4, 10);
  trace.vms[0].cpu_permille.assign(288, 0);
  const SimResult removed = run(trace, "dvfs", 4, false);
  const SimResult kept = run(trace, "dvfs", 4, true);
  EXPECT_EQ(removed.kwh, kept.kwh);  // it asks for nothing either way
  trace.vms[0].cpu_permille[200] = 50;
  EXPECT_LT(run(trace, "dvfs", 4, false).kwh, run(trace, "dvfs", 4, true).kwh);
}

TEST(Cloudsim, ConsolidationEmptiesHostsAndCountsWhatItCosts) {
  const trace::VmTrace trace = constant(40, 20);
  const SimResult still = run(trace, "dvfs", 40, true);
  const SimResult packed = run(trace, "thr_mmt_0.8", 40, true);
  EXPECT_LT(packed.active_host_hours, still.active_host_hours);
  EXPECT_GT(packed.migrations, 0U);
  EXPECT_GT(packed.sla.pdm, 0);
  EXPECT_LE(packed.sla.pdm, packed.sla.unserved + 1e-12);
  // What a VM on its way in takes marks its destination, though nobody is short of anything there.
  EXPECT_LT(packed.sla.slatah_corrected, packed.sla.slatah);
}

TEST(Cloudsim, AVmThatFindsNoHostIsAnError) {
  const trace::VmTrace trace = constant(40, 20);
  CloudsimWorld world(trace, {.hosts = 2, .keeps_idle = true, .progress = {}});
  const auto policy = make_policy("lr_mmt_1.2");
  const auto result = world.run(*policy);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kInvalid);
}

TEST(Detectors, RegressionLooksOneStepAhead) {
  const auto detector = make_detector("lr", 1.2);
  std::vector<double> rising, steady;
  for (int i = 0; i < 10; ++i) {
    rising.push_back(0.8 - 0.05 * i);  // newest first: 0.85 is next, times 1.2 is over
    steady.push_back(0.8);
  }
  EXPECT_TRUE(detector->is_over(0, rising));
  EXPECT_FALSE(detector->is_over(0, steady));
  EXPECT_TRUE(detector->is_over(0.71, std::span(rising).first(9)));  // too short: above 0.7
  EXPECT_FALSE(detector->is_over(0.69, std::span(rising).first(9)));
}

TEST(Detectors, SpreadLowersTheThreshold) {
  std::vector<double> past;
  for (int i = 1; i <= 12; ++i) past.push_back(i / 100.0);
  // Quartiles of 12: sorted[round(0.25·13)-1] = 0.03, sorted[round(0.75·13)-1] = 0.10.
  const auto iqr = make_detector("iqr", 1.5);
  EXPECT_FALSE(iqr->is_over(0.894, past));
  EXPECT_TRUE(iqr->is_over(0.896, past));
  // The median is 0.065, the median deviation 0.03.
  const auto mad = make_detector("mad", 2.5);
  EXPECT_FALSE(mad->is_over(0.924, past));
  EXPECT_TRUE(mad->is_over(0.926, past));
}

TEST(Balancers, SnapshotEvensOutAndThenWaits) {
  const trace::VmTrace trace = constant(40, 60);
  const SimResult packed = run(trace, "dvfs", 60, true);
  const SimResult even = run(trace, "snapshot", 60, true);
  EXPECT_GT(even.migrations, 0U);
  EXPECT_GT(even.active_host_hours, packed.active_host_hours);  // idle hosts are hosts to it
}

TEST(Balancers, StddevDoesNothingBelowItsThreshold) {
  EXPECT_EQ(run(constant(40, 5), "stddev", 60, true).migrations, 0U);
  EXPECT_GT(run(constant(40, 99), "stddev", 60, true).migrations, 0U);
}

TEST(Policies, AreFoundByTheirNames) {
  for (const auto name : policy_names()) EXPECT_TRUE(make_policy(name)) << name;
  EXPECT_TRUE(make_policy("thr_mmt_0.65"));
  EXPECT_TRUE(make_policy("forerun@0.6"));
  for (const char* none : {"lr", "lr_mmt_", "thr_mmt_x", "thr_mmt_0", "thr_mmt_0.8x", "forerun@",
                           "forerun@0", "forerun@1.5", "forerun@nan"})
    EXPECT_FALSE(make_policy(none)) << none;
}

}  // namespace
}  // namespace forerun::place
