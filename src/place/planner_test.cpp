#include "place/planner.h"

#include <gmock/gmock.h>

#include <cmath>

#include "core/rng.h"
#include "place/cloudsim_world.h"
#include "place/policies.h"

namespace forerun::place {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

constexpr size_t kPast = 40;

// A fleet that owns its series.
struct Fleet {
  FleetState state;
  std::vector<std::unique_ptr<std::vector<float>>> pasts;

  int host(double capacity, double memory_mb = 0) {
    state.hosts.push_back({.capacity = capacity, .memory_mb = memory_mb});
    return static_cast<int>(state.hosts.size()) - 1;
  }
  int vm(int host, std::vector<float> past, double memory_mb = 100) {
    pasts.push_back(std::make_unique<std::vector<float>>(std::move(past)));
    FleetVm added;
    added.host = host;
    added.memory_mb = memory_mb;
    added.demand = pasts.back()->back();
    added.past = *pasts.back();
    state.vms.push_back(added);
    return static_cast<int>(state.vms.size()) - 1;
  }
  int steady_vm(int host, float demand, double memory_mb = 100) {
    return vm(host, std::vector<float>(kPast, demand), memory_mb);
  }
  void apply(const Plan& plan) {
    for (const PlannedMove& move : plan.moves)
      state.vms[static_cast<size_t>(move.vm)].host = move.to;
  }
};

std::vector<float> wave(float mean, float height, float phase) {
  std::vector<float> past;
  for (size_t i = 0; i < kPast; ++i)
    past.push_back(mean + height * std::sin(0.7F * static_cast<float>(i) + phase));
  return past;
}

PlannerOptions without_freeing() {
  PlannerOptions options;
  options.frees_hosts = false;
  return options;
}

TEST(LoadBook, SumsWithTheCovarianceOfVms) {
  Fleet fleet;
  const int together = fleet.host(100), against = fleet.host(100);
  for (const float phase : {0.0F, 0.0F}) fleet.vm(together, wave(20, 10, phase));
  for (const float phase : {0.0F, 3.14159F}) fleet.vm(against, wave(20, 10, phase));
  const LoadBook book(fleet.state, {});
  EXPECT_NEAR(book.load(together).sd, 2 * 10 / std::sqrt(2.0) / 100, 0.01);
  EXPECT_NEAR(book.load(against).sd, 0, 0.001);
  EXPECT_GE(book.load(together).mean, 0.4 - 0.01);
}

TEST(LoadBook, WithAndWithoutAgreeWithMoving) {
  Fleet fleet;
  const int a = fleet.host(100), b = fleet.host(200);
  const int v = fleet.vm(a, wave(20, 10, 0));
  fleet.vm(a, wave(30, 5, 1));
  fleet.vm(b, wave(50, 20, 2));
  LoadBook book(fleet.state, {});
  const HostLoad without = book.without(a, v), with = book.with(b, v);
  book.move(v, b);
  EXPECT_NEAR(book.load(a).mean, without.mean, 1e-6);
  EXPECT_NEAR(book.load(a).sd, without.sd, 1e-6);
  EXPECT_NEAR(book.load(b).mean, with.mean, 1e-6);
  EXPECT_NEAR(book.load(b).sd, with.sd, 1e-6);
  EXPECT_EQ(book.host_of(v), b);
}

TEST(Planner, RelievesByTheSmallestVmThatSuffices) {
  Fleet fleet;
  const int hot = fleet.host(100), cold = fleet.host(100);
  fleet.steady_vm(hot, 50);
  fleet.steady_vm(hot, 5);
  const int fitting = fleet.steady_vm(hot, 28);
  fleet.steady_vm(hot, 30);
  fleet.steady_vm(cold, 10);
  const Plan plan = Planner(without_freeing()).plan(fleet.state);
  ASSERT_THAT(plan.moves, SizeIs(1));
  EXPECT_EQ(plan.moves[0].vm, fitting);
  EXPECT_EQ(plan.moves[0].to, cold);
  EXPECT_EQ(plan.moves[0].reason, MoveReason::kRelief);
  EXPECT_NEAR(plan.moves[0].from_before.now, 1.13, 1e-6);
  EXPECT_NEAR(plan.moves[0].from_after.now, 0.85, 1e-6);
}

TEST(Planner, LeavesASpikeAlone) {
  Fleet fleet;
  const int host = fleet.host(100);
  fleet.host(100);
  std::vector<float> past(kPast, 30);
  past.back() = 105;
  fleet.vm(host, past);
  fleet.steady_vm(host, 5);
  EXPECT_THAT(Planner(without_freeing()).plan(fleet.state).moves, IsEmpty());
}

TEST(Planner, PrefersNeighboursThatRestWhenTheVmWorks) {
  Fleet fleet;
  const int hot = fleet.host(100);
  const int with_it = fleet.host(100), against_it = fleet.host(100);
  fleet.steady_vm(hot, 80);
  const int moved = fleet.vm(hot, wave(30, 10, 0));
  fleet.vm(with_it, wave(30, 10, 0));
  fleet.vm(against_it, wave(30, 10, 3.14159F));
  const Plan plan = Planner(without_freeing()).plan(fleet.state);
  ASSERT_THAT(plan.moves, SizeIs(1));
  EXPECT_EQ(plan.moves[0].vm, moved);
  EXPECT_EQ(plan.moves[0].to, against_it);
  EXPECT_EQ(plan.moves[0].alternatives.second, with_it);
}

TEST(Planner, SaysWhenThereIsNoHost) {
  Fleet fleet;
  const int hot = fleet.host(100, 1000), full = fleet.host(100, 1000);
  fleet.steady_vm(hot, 60, 500);
  fleet.steady_vm(hot, 50, 500);
  fleet.steady_vm(full, 10, 800);
  const Plan plan = Planner(without_freeing()).plan(fleet.state);
  EXPECT_THAT(plan.moves, IsEmpty());
  ASSERT_THAT(plan.unrelieved, SizeIs(1));
  EXPECT_EQ(plan.unrelieved[0].why, Unrelieved::Why::kNoHost);
  EXPECT_EQ(plan.unrelieved[0].alternatives.over_memory, 1U);
}

TEST(Planner, CoolDownDoublesWithMoves) {
  Fleet fleet;
  const int hot = fleet.host(100);
  fleet.host(100);
  for (const int v : {fleet.steady_vm(hot, 60), fleet.steady_vm(hot, 50)}) {
    fleet.state.vms[static_cast<size_t>(v)].ticks_since_move = 5;
    fleet.state.vms[static_cast<size_t>(v)].moves_lately = 2;
  }
  const Plan cooling = Planner(without_freeing()).plan(fleet.state);
  EXPECT_THAT(cooling.moves, IsEmpty());
  ASSERT_THAT(cooling.unrelieved, SizeIs(1));
  EXPECT_EQ(cooling.unrelieved[0].why, Unrelieved::Why::kCoolingDown);
  for (FleetVm& vm : fleet.state.vms) vm.ticks_since_move = 6;
  EXPECT_THAT(Planner(without_freeing()).plan(fleet.state).moves, SizeIs(1));
}

TEST(Planner, DrainsAHostButNotWhatIsPinned) {
  Fleet fleet;
  const int drained = fleet.host(100), other = fleet.host(100);
  fleet.state.hosts[static_cast<size_t>(drained)].takes_vms = false;
  const int free = fleet.steady_vm(drained, 10);
  const int pinned = fleet.steady_vm(drained, 10);
  fleet.state.vms[static_cast<size_t>(pinned)].may_move = false;
  const Plan plan = Planner({}).plan(fleet.state);
  ASSERT_THAT(plan.moves, SizeIs(1));
  EXPECT_EQ(plan.moves[0].vm, free);
  EXPECT_EQ(plan.moves[0].to, other);
  EXPECT_EQ(plan.moves[0].reason, MoveReason::kDrain);
}

TEST(Planner, FreesAHostOnlyWholly) {
  Fleet fleet;
  const int a = fleet.host(100, 1000), b = fleet.host(100, 1000);
  fleet.steady_vm(a, 10, 600);
  fleet.steady_vm(a, 10, 300);
  fleet.steady_vm(b, 10, 600);
  fleet.steady_vm(b, 10, 300);
  EXPECT_THAT(Planner({}).plan(fleet.state).moves, IsEmpty());  // one would fit, both do not
  for (FleetHost& host : fleet.state.hosts) host.memory_mb = 2000;
  EXPECT_THAT(Planner({}).plan(fleet.state).moves, SizeIs(2));
}

// What must hold of any plan, on random fleets: memory is never over, moved VMs fit at the
// quantile, nothing moves twice, the same state gives the same plan, and the plan carried out
// leaves nothing more to do for VMs that just moved.
TEST(Planner, KeepsItsRulesOnRandomFleets) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Rng rng(seed);
    Fleet fleet;
    for (int h = 0; h < 12; ++h) fleet.host(100 + 100 * static_cast<double>(rng.below(2)), 4000);
    for (int v = 0; v < 60; ++v) {
      const float mean = static_cast<float>(rng.below(30));
      fleet.vm(static_cast<int>(rng.below(12)),
               wave(mean, mean / 2, static_cast<float>(rng.below(6))),
               100 + static_cast<double>(rng.below(300)));
    }
    const Planner planner({});
    const Plan plan = planner.plan(fleet.state);
    const Plan again = planner.plan(fleet.state);
    ASSERT_EQ(plan.moves.size(), again.moves.size());
    std::vector<int> moves(60);
    for (size_t i = 0; i < plan.moves.size(); ++i) {
      const PlannedMove& move = plan.moves[i];
      EXPECT_EQ(move.vm, again.moves[i].vm);
      EXPECT_EQ(move.to, again.moves[i].to);
      EXPECT_EQ(++moves[static_cast<size_t>(move.vm)], 1);
      if (!move.wakes_host) {
        EXPECT_LE(move.to_after.mean + 1.4 * move.to_after.sd, 1 + 1e-9);
      }
    }
    std::vector<double> before(12), after(12);
    for (const FleetVm& vm : fleet.state.vms) before[static_cast<size_t>(vm.host)] += vm.memory_mb;
    fleet.apply(plan);
    for (const FleetVm& vm : fleet.state.vms) after[static_cast<size_t>(vm.host)] += vm.memory_mb;
    for (size_t h = 0; h < 12; ++h) EXPECT_LE(after[h], std::max(4000.0, before[h]));
    for (FleetVm& vm : fleet.state.vms) vm.ticks_since_move = 0;
    EXPECT_THAT(planner.plan(fleet.state).moves, IsEmpty());
  }
}

// Stationary load: after the first hour nothing moves.
TEST(ForerunPolicy, DoesNotFlapUnderStationaryLoad) {
  trace::VmTrace trace;
  for (int v = 0; v < 60; ++v) {
    std::vector<uint16_t> samples;
    for (int i = 0; i < 288; ++i)
      samples.push_back(static_cast<uint16_t>(150 + 10 * (v % 8) + 20 * ((i + v) % 3)));
    trace.vms.push_back({.name = std::to_string(v), .cpu_permille = samples});
  }
  CloudsimWorld world(trace, {.hosts = 60, .keeps_idle = true, .progress = {}});
  struct Watched final : SimPolicy {
    std::unique_ptr<SimPolicy> inner = make_policy("forerun");
    size_t late = 0;
    int first_host(const SimWorld& at, int vm) override { return inner->first_host(at, vm); }
    std::vector<SimMove> round(const SimWorld& at) override {
      auto moves = inner->round(at);
      if (at.ticks() > 12) late += moves.size();
      return moves;
    }
  } watched;
  const auto result = world.run(watched);
  ASSERT_TRUE(result);
  EXPECT_GT(result->migrations, 0U);
  EXPECT_EQ(watched.late, 0U);
  EXPECT_LT(result->sla.slatah_corrected, 0.01);
}

}  // namespace
}  // namespace forerun::place
