// Forerun's planner: moves a VM where contention is there and expected to stay, or is foreseen, and
// frees hosts that are not needed as long as the others can take their VMs at the wanted quantile.
// The same code plans for hosts that exist and for those of the simulator.
//
// docs/plan.md says how it decides, docs/simulate.md what that is worth.
#pragma once

#include <optional>
#include <vector>

#include "place/fleet.h"
#include "place/load_book.h"
#include "place/move_value.h"

namespace forerun::place {

struct PlannerOptions {
  LoadBook::Options load;
  double over_now = 0.98;   // of capacity: a host is contended that is asked for more now …
  double over_mean = 0.79;  // … and is expected to be asked for more than this
  // With forecasts: a host is as good as contended whose demand will be over its capacity with this
  // probability, at a moment within the horizon. Relief takes it below `relieved_probability`.
  double over_probability = 0.5, relieved_probability = 0.2;
  double fill = 0.79;  // hosts are freed while the rest is expected to be loaded no more
  bool frees_hosts = true;
  uint32_t cool_down_ticks = 3;  // after a move a VM stays so long, twice that after two in a day …
  uint32_t cool_down_doublings_max = 4;
  uint32_t hosts_tried_max = 64;  // for one VM, those of least risk first
  uint32_t vms_tried_max = 4;     // of a contended host, the best first
  ValueOptions value;             // not asked of moves that are free (MoveCost)
  // Of what a destination is chosen by, beside its risk: a host of affinity 1 may be so much
  // riskier than one of 0; one of twice the price must be so much less risky; and so on.
  double affinity_weight = 0.15, price_weight = 0.1, latency_weight_per_ms = 0.005;
  bool explains = false;  // moves carry what was rejected
  uint32_t explained_max = 24;
};

// One thread. Holds nothing between plans: after a restart it plans the same.
class Planner {
 public:
  explicit Planner(PlannerOptions options) : options_(options) {}

  // REQUIRES: every VM's host exists, or is -1; capacities are above 0; rules name what exists.
  Plan plan(const FleetState& fleet) const;

 private:
  PlannerOptions options_;
};

}  // namespace forerun::place
