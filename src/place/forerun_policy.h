// Forerun's planner in the simulator.
#pragma once

#include <vector>

#include "place/cloudsim_world.h"
#include "place/planner.h"

namespace forerun::place {

class ForerunPolicy final : public SimPolicy {
 public:
  explicit ForerunPolicy(const PlannerOptions& options = {}) : planner_(options) {}
  // Where the least power is added; an idle host only if no other has room.
  int first_host(const CloudsimWorld& world, int vm) override;
  std::vector<SimMove> round(const CloudsimWorld& world) override;

 private:
  struct Known {
    std::vector<float> past;
    std::vector<uint32_t> moved_at;  // ticks
  };
  FleetState state_of(const CloudsimWorld& world);

  Planner planner_;
  std::vector<Known> known_;  // of VMs
};

}  // namespace forerun::place
