#include "place/forerun_policy.h"

#include <algorithm>

namespace forerun::place {
namespace {

constexpr uint32_t kDay_ticks = 288;
constexpr ptrdiff_t kPast_ticks = 288;     // at least so many are kept
constexpr double kWake_watts = 1000;       // more than any host draws: a host is woken last, before
constexpr double kOvercommit_watts = 1e6;  // nominal CPU is given twice

void hold_memory(FleetHost& host, double memory_mb) {
  constexpr double kLeast_mb = 1;  // 0 would mean that there is no limit
  if (host.memory_mb > 0) host.memory_mb = std::max(kLeast_mb, host.memory_mb - memory_mb);
}

}  // namespace

int ForerunPolicy::first_host(const SimWorld& world, int vm) {
  const SimVm& starting = world.vms()[static_cast<size_t>(vm)];
  double least = 0;
  int found = -1;
  for (size_t h = 0; h < world.hosts().size(); ++h) {
    const int id = static_cast<int>(h);
    if (!world.can_start(id, starting)) continue;
    const SimHost& host = world.hosts()[h];
    const double reserved = world.reserved_mips(id);
    const double after = (reserved + starting.mips) / host.total_mips;
    const double watts = reserved == 0 ? kWake_watts * (1 + host.power->max() / host.total_mips)
                         : after <= 1
                             ? host.power->at(after) - host.power->at(reserved / host.total_mips)
                             : kOvercommit_watts * after;
    if (found >= 0 && watts >= least) continue;
    least = watts;
    found = id;
  }
  return found;
}

FleetState ForerunPolicy::state_of(const SimWorld& world) {
  FleetState state;
  for (const SimHost& host : world.hosts())
    state.hosts.push_back({.capacity = host.total_mips,
                           .core_capacity = host.core_mips,
                           .memory_mb = host.memory_mb,
                           .power = host.power});
  known_.resize(world.vms().size());
  for (size_t v = 0; v < known_.size(); ++v) {
    const SimVm& vm = world.vms()[v];
    Known& known = known_[v];
    FleetVm seen;
    // A VM on its way counts where it goes; until it is there, its memory is held here as well.
    seen.host = vm.is_migrating ? vm.to : vm.host;
    seen.may_move = !vm.is_migrating;
    seen.memory_mb = vm.ram_mb;
    if (vm.is_migrating) hold_memory(state.hosts[static_cast<size_t>(vm.host)], vm.ram_mb);
    seen.demand = vm.demand;
    if (!vm.is_gone) known.past.push_back(static_cast<float>(vm.demand));
    if (std::ssize(known.past) == 2 * kPast_ticks)
      known.past.erase(known.past.begin(), known.past.begin() + kPast_ticks);
    seen.past = known.past;
    if (!known.moved_at.empty()) seen.ticks_since_move = world.ticks() - known.moved_at.back();
    seen.moves_lately = static_cast<uint32_t>(
        std::count_if(known.moved_at.begin(), known.moved_at.end(),
                      [&](uint32_t at) { return world.ticks() - at < kDay_ticks; }));
    state.vms.push_back(seen);
  }
  return state;
}

std::vector<SimMove> ForerunPolicy::round(const SimWorld& world) {
  const FleetState state = state_of(world);
  std::vector<SimMove> moves;
  for (const PlannedMove& move : planner_.plan(state).moves) {
    moves.push_back({move.vm, move.to});
    known_[static_cast<size_t>(move.vm)].moved_at.push_back(world.ticks());
  }
  return moves;
}

}  // namespace forerun::place
