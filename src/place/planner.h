// Forerun's planner: moves a VM where contention is there and expected to stay, and frees hosts
// that are not needed as long as the others can take their VMs at the wanted quantile. The same
// code plans for hosts that exist and for those of the simulator.
//
// docs/simulate.md says how it decides and what that is worth.
#pragma once

#include <optional>
#include <vector>

#include "place/fleet.h"
#include "place/load_book.h"

namespace forerun::place {

struct PlannerOptions {
  LoadBook::Options load;
  double over_now = 0.98;   // of capacity: a host is contended that is asked for more now …
  double over_mean = 0.79;  // … and is expected to be asked for more than this
  double fill = 0.79;       // hosts are freed while the rest is expected to be loaded no more
  bool frees_hosts = true;
  uint32_t cool_down_ticks = 3;  // after a move a VM stays so long, twice that after two in a day …
  uint32_t cool_down_doublings_max = 4;
  uint32_t hosts_tried_max = 64;  // for one VM, those of least risk first
};

// One thread. Holds nothing between plans: after a restart it plans the same.
class Planner {
 public:
  explicit Planner(PlannerOptions options) : options_(options) {}

  // REQUIRES: every VM's host exists, or is -1; capacities are above 0.
  Plan plan(const FleetState& fleet) const;

 private:
  struct Round;
  PlannerOptions options_;
};

}  // namespace forerun::place
