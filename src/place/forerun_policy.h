// Forerun's planner in the simulator.
#pragma once

#include <vector>

#include "place/planner.h"
#include "place/sim_world.h"

namespace forerun::place {

class ForerunPolicy final : public SimPolicy {
 public:
  explicit ForerunPolicy(const PlannerOptions& options = {}) : planner_(options) {}
  // Where the least power is added; an idle host only if no other has room.
  int first_host(const SimWorld& world, int vm) override;
  std::vector<SimMove> round(const SimWorld& world) override;

 private:
  struct Known {
    std::vector<float> past;
    std::vector<uint32_t> moved_at;  // ticks
  };
  FleetState state_of(const SimWorld& world);

  Planner planner_;
  std::vector<Known> known_;  // of VMs
};

}  // namespace forerun::place
