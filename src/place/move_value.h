// What a move is worth: the demand that is met because of it, against what it costs.
#pragma once

#include "place/fleet.h"

namespace forerun::place {

// Demand on a host is taken as normal: of the forecast where there is one, else of the past.
// Returns the probability that it is over capacity at a moment within the horizon.
double over_probability(const HostLoad& load);
// Returns the demand beyond capacity that is expected then, of capacity.
double expected_excess(const HostLoad& load);

struct ValueOptions {
  double horizon_s = 1800;     // what is expected holds for so long
  double payback_s_max = 900;  // a move that pays only later is not made
  double margin = 1.2;         // avoided must be so many times what it costs
  // Of a host's capacity, per host, while memory is copied: compression, checksums, QEMU.
  double copy_ratio = 0.02;
};

struct HostChange {
  HostLoad from_before, from_after, to_before, to_after;
  double from_capacity = 0, to_capacity = 0;
};
// `cost_per_gib`: of the way that it takes.
MoveValue value_of(const HostChange& change, const FleetVm& vm, double cost_per_gib,
                   const ValueOptions& options);

}  // namespace forerun::place
