// The data centre of CloudSim 4.0's example power.planetlab, rule by rule: its hosts, what they
// allocate, how VMs migrate, what is metered. docs/simulate.md says the rules; policies decide who
// goes where.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "place/cloudsim_meter.h"
#include "place/sim_world.h"

namespace forerun::place {

class CloudsimWorld final : public SimWorld {
 public:
  struct Options {
    int hosts = 800;
    bool keeps_idle = false;  // false: as upstream, a VM that asks for nothing is destroyed
    // Called after every tick with what was done by then, of 1.
    std::function<void(double)> progress;
  };
  // REQUIRES: `trace` outlives this and has at least one VM.
  CloudsimWorld(const trace::VmTrace& trace, Options options);

  // Runs a day. Once per object. ERRORS: kInvalid when a VM finds no host at the start.
  Result<SimResult> run(SimPolicy& policy);

  bool can_start(int host, const SimVm& vm) const override;

 private:
  struct Arrival {
    double time = 0;
    uint64_t order = 0;
    SimMove move;
  };

  Status start(SimPolicy& policy);
  double utilisation_at(const SimVm& vm, double time) const;
  void advance(double time, bool is_tick);
  void update_host(size_t host);
  void begin_move(const SimMove& move);
  void finish_move(const SimMove& move);
  void remove_idle();
  SimSample sample() const;

  Options options_;
  std::vector<Arrival> arrivals_;  // a heap, the earliest first
  CloudsimMeter meter_;
  double energy_ws_ = 0;
  uint64_t migrations_ = 0;
  std::vector<double> allocated_;  // scratch of update_host
  std::vector<SimSample> samples_;
};

// Allocates a host's MIPS among demands as CloudSim's VmSchedulerTimeSharedOverSubscription: each
// capped at a core; if all fit, each gets its own, otherwise all are scaled and rounded down.
enum class SimRole : uint8_t { kHere, kLeaving, kArriving };
struct SimDemand {
  double mips = 0;
  SimRole role = SimRole::kHere;
};
// Sets `allocated` to what each gets, and returns what is left for more: 0 if they did not fit.
double allocate(double core_mips, double total_mips, std::span<const SimDemand> demands,
                std::vector<double>& allocated);

}  // namespace forerun::place
