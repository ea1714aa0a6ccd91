// The planner over time, with forecasts and cool-downs: it does not flap.
#include <gtest/gtest.h>

#include <cmath>

#include "core/rng.h"
#include "place/fleet_model.h"

namespace forerun::place {
namespace {

constexpr size_t kPast = 40;

// A fleet whose VMs ask for what `demand` says of them at a tick, and whose plans are carried out.
struct Rolling {
  FleetSnapshot fleet;
  std::map<std::string, std::vector<uint32_t>> moves;  // at which ticks
  std::function<float(size_t vm, uint32_t tick)> demand;

  Rolling(size_t hosts, size_t vms, std::function<float(size_t, uint32_t)> asks)
      : demand(std::move(asks)) {
    for (size_t h = 0; h < hosts; ++h) {
      SnapshotHost host;
      host.name = fmt::format("h{}", h);
      host.cores = 4;
      host.memory_bytes = 64ull << 30;
      fleet.hosts.push_back(host);
    }
    for (size_t v = 0; v < vms; ++v) {
      SnapshotVm vm;
      vm.name = fmt::format("v{}", v);
      vm.host = "h0";
      vm.cpus = 4;
      vm.memory_bytes = 2ull << 30;
      vm.move = {.bytes = 2e9, .seconds = 20, .downtime_s = 0.3};
      fleet.vms.push_back(vm);
    }
  }
  void tick(uint32_t now) {
    for (size_t v = 0; v < fleet.vms.size(); ++v) {
      SnapshotVm& vm = fleet.vms[v];
      vm.demand.push_back(demand(v, now));
      if (vm.demand.size() > kPast) vm.demand.erase(vm.demand.begin());
      vm.moved_before.clear();
      for (const uint32_t at : moves[vm.name]) vm.moved_before.push_back(now - at);
    }
    const auto model = FleetModel::make(fleet);
    const Plan plan = Planner((*model)->options(false)).plan((*model)->state());
    for (const PlannedMove& move : plan.moves) {
      fleet.vms[static_cast<size_t>(move.vm)].host = (*model)->host_name(move.to);
      moves[(*model)->vm_name(move.vm)].push_back(now);
    }
  }
};

TEST(Flapping, NothingMovesUnderStationaryLoadAfterTheFirstHour) {
  Rng rng(5);
  Rolling rolling(3, 8, [&](size_t vm, uint32_t) {
    return 0.6F + 0.05F * static_cast<float>(vm % 3) + 0.2F * static_cast<float>(rng.unit() - 0.5);
  });
  for (uint32_t now = 0; now < 60; ++now) rolling.tick(now);
  size_t early = 0, late = 0;
  for (const auto& [vm, at] : rolling.moves)
    for (const uint32_t tick : at) ++(tick < 12 ? early : late);
  EXPECT_GE(early, 1U);  // the first host began with too much
  EXPECT_EQ(late, 0U);
}

TEST(Flapping, UnderOscillatingLoadNoVmMovesBeforeItHasCooled) {
  Rolling rolling(2, 6, [](size_t vm, uint32_t tick) {
    return 0.9F + 0.8F * std::sin(0.4F * static_cast<float>(tick) + (vm % 2 == 0 ? 0.0F : 3.14F));
  });
  for (uint32_t now = 0; now < 60; ++now) rolling.tick(now);
  for (const auto& [vm, at] : rolling.moves)
    for (size_t i = 1; i < at.size(); ++i) {
      const auto doublings = std::min<size_t>(i - 1, PlannerOptions{}.cool_down_doublings_max);
      EXPECT_GE(at[i] - at[i - 1], PlannerOptions{}.cool_down_ticks << doublings) << vm;
    }
}

}  // namespace
}  // namespace forerun::place
