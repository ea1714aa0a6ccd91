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
#include "place/power_curve.h"
#include "trace/vm_trace.h"

namespace forerun::place {

struct SimVm {
  double mips = 0;  // nominal, of its one vCPU
  double ram_mb = 0;
  const std::vector<uint16_t>* cpu_permille = nullptr;
  int host = -1;  // -1: not placed, or gone
  bool is_migrating = false;
  bool is_gone = false;         // idle, so removed for the rest of the day
  double demand = 0;            // MIPS, now
  std::vector<double> history;  // utilisation of itself at the ticks, the newest last
};

struct SimHost {
  double total_mips = 0;
  double core_mips = 0;
  const PowerCurve* power = nullptr;
  std::vector<int> vms;    // in the order of arrival; those on their way in as well
  double utilisation = 0;  // at the last event; migrating VMs as if they had all they get
  double utilisation_before = 0;
};

struct SimMove {
  int vm = 0;
  int host = 0;
};

struct SimResult {
  double kwh = 0;
  uint64_t migrations = 0;
  SlaFigures sla;
  uint64_t shutdowns = 0;
  double active_host_hours = 0;
};

class CloudsimWorld;

// Decides. One object per run.
class SimPolicy {
 public:
  virtual ~SimPolicy() = default;
  // Returns the host that `vm` starts on, or -1; asked once per VM, in order, at time 0, with what
  // is nominal reserved.
  virtual int first_host(const CloudsimWorld& world, int vm) = 0;
  // Returns what shall move now; asked at every tick. A VM may be named twice (see
  // docs/simulate.md).
  virtual std::vector<SimMove> round(const CloudsimWorld& world) = 0;
  // Hosts always draw their most, whatever they do.
  virtual bool is_power_aware() const { return true; }
};

class CloudsimWorld {
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

  std::span<const SimHost> hosts() const { return hosts_; }
  std::span<const SimVm> vms() const { return vms_; }
  double now_s() const { return now_; }
  uint32_t ticks() const { return ticks_; }
  // Returns whether the host has what is nominal left for a VM that starts.
  bool can_start(int host, const SimVm& vm) const;
  // Returns what is nominally reserved on a host at the start, MIPS.
  double reserved_mips(int host) const { return reserved_[static_cast<size_t>(host)].mips; }

 private:
  struct Reserved {
    double mips = 0, ram_mb = 0, bandwidth = 0;
  };
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

  Options options_;
  std::vector<SimHost> hosts_;
  std::vector<SimVm> vms_;
  std::vector<Reserved> reserved_;
  std::vector<Arrival> arrivals_;  // a heap, the earliest first
  CloudsimMeter meter_;
  double now_ = 0;
  uint32_t ticks_ = 0;
  double energy_ws_ = 0;
  uint64_t migrations_ = 0;
  std::vector<double> allocated_;  // scratch of update_host
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
