#include "place/move_value.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace forerun::place {
namespace {

struct Normal {
  double mean = 0, sd = 0;
};

Normal demand_of(const HostLoad& load) {
  return load.is_foreseen ? Normal{load.ahead, load.ahead_sd} : Normal{load.mean, load.sd};
}

constexpr double kSd_min = 1e-6;
constexpr double kGib = 1024.0 * 1024 * 1024;

}  // namespace

double over_probability(const HostLoad& load) {
  const Normal demand = demand_of(load);
  const double z = (demand.mean - 1) / std::max(demand.sd, kSd_min);
  return 0.5 * std::erfc(-z / std::numbers::sqrt2);
}

// E[max(0, X − 1)] of a normal X.
double expected_excess(const HostLoad& load) {
  const Normal demand = demand_of(load);
  const double sd = std::max(demand.sd, kSd_min);
  const double z = (demand.mean - 1) / sd;
  const double density = std::exp(-0.5 * z * z) / std::sqrt(2 * std::numbers::pi);
  return std::max(0.0, sd * density + (demand.mean - 1) * over_probability(load));
}

// Demand that is not met at the source is met at the target from the end of the move on, and less
// of that of the target's own VMs.
MoveValue value_of(const HostChange& change, const FleetVm& vm, double cost_per_gib,
                   const ValueOptions& options) {
  MoveValue value;
  const double relief = (expected_excess(change.from_before) - expected_excess(change.from_after)) *
                        change.from_capacity;
  const double burden =
      (expected_excess(change.to_after) - expected_excess(change.to_before)) * change.to_capacity;
  const double rate = (relief - burden) * vm.priority;
  value.avoided = rate * std::max(0.0, options.horizon_s - vm.cost.seconds);
  const double copying =
      vm.cost.seconds * options.copy_ratio * (change.from_capacity + change.to_capacity);
  value.cost = vm.cost.downtime_s * vm.demand * vm.interruption * vm.priority + copying +
               vm.cost.bytes / kGib * cost_per_gib;
  value.payback_s =
      rate > 0 ? vm.cost.seconds + value.cost / rate : std::numeric_limits<double>::infinity();
  value.confidence = over_probability(change.from_before) * (1 - over_probability(change.to_after));
  return value;
}

}  // namespace forerun::place
