// What a simulated data centre is for those who decide: its hosts, its VMs, its clock; and what
// comes out of a run. cloudsim_world and fleet_world are two models of it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "place/cloudsim_meter.h"
#include "place/power_curve.h"
#include "trace/vm_trace.h"

namespace forerun::place {

struct SimVm {
  double mips = 0;  // nominal, of all its vCPUs
  double ram_mb = 0;
  const std::vector<uint16_t>* cpu_permille = nullptr;
  int host = -1;  // -1: not placed, or gone
  int to = -1;    // where it is moving, -1: nowhere
  bool is_migrating = false;
  bool is_gone = false;         // idle, so removed for the rest of the day
  double demand = 0;            // MIPS, now
  std::vector<double> history;  // utilisation of itself at the ticks, the newest last
};

struct SimHost {
  double total_mips = 0;
  double core_mips = 0;  // the most that one VM can get
  double memory_mb = 0;  // that limits moves; 0: nothing does
  const PowerCurve* power = nullptr;
  std::vector<int> vms;    // in the order of arrival; those on their way in as well
  double utilisation = 0;  // at the last event; migrating VMs as if they had all they get
  double utilisation_before = 0;
};

// What a VM is given. VMs of a trace that does not say are of CloudSim's four types, in turn.
struct VmShape {
  double mips = 0;
  double memory_mb = 0;
};
VmShape shape_of(const trace::VmTrace& trace, size_t vm);

struct SimMove {
  int vm = 0;
  int host = 0;
};

// At a tick.
struct SimSample {
  uint32_t hosts_on = 0;
  uint64_t migrations = 0;  // so far
  double short_share = 0;   // of the demand now, what is not met
};

struct SimResult {
  double kwh = 0;
  uint64_t migrations = 0;
  SlaFigures sla;
  uint64_t shutdowns = 0;
  double active_host_hours = 0;
  // Of the model forerun; 0 in cloudsim4.
  double contention_s = 0;      // host-seconds in which more was asked than there is
  double waited_vm_s = 0;       // VM-seconds, each by the share of its demand that it did not get
  double moved_gb = 0;          // sent for moves, what was sent again included
  double moving_s = 0;          // of all moves
  double memory_share_max = 0;  // the fullest that any host was
  uint64_t moves_refused = 0;   // no memory came free where they should go
  std::vector<SimSample> samples;
};

// Read only for policies. One thread.
class SimWorld {
 public:
  virtual ~SimWorld() = default;
  SimWorld() = default;
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  std::span<const SimHost> hosts() const { return hosts_; }
  std::span<const SimVm> vms() const { return vms_; }
  double now_s() const { return now_; }
  uint32_t ticks() const { return ticks_; }
  // Returns whether the host has what is nominal left for a VM that starts.
  virtual bool can_start(int host, const SimVm& vm) const = 0;
  // Returns what is nominally reserved on a host at the start, MIPS.
  double reserved_mips(int host) const { return reserved_[static_cast<size_t>(host)].mips; }

 protected:
  struct Reserved {
    double mips = 0, ram_mb = 0, bandwidth = 0;
  };
  std::vector<SimHost> hosts_;
  std::vector<SimVm> vms_;
  std::vector<Reserved> reserved_;
  double now_ = 0;
  uint32_t ticks_ = 0;
};

// Decides. One object per run.
class SimPolicy {
 public:
  virtual ~SimPolicy() = default;
  // Returns the host that `vm` starts on, or -1; asked once per VM, in order, at time 0, with what
  // is nominal reserved.
  virtual int first_host(const SimWorld& world, int vm) = 0;
  // Returns what shall move now; asked at every tick. A VM may be named twice (see
  // docs/simulate.md). VMs that are migrating stay out of it.
  virtual std::vector<SimMove> round(const SimWorld& world) = 0;
  // Hosts always draw their most, whatever they do.
  virtual bool is_power_aware() const { return true; }
};

}  // namespace forerun::place
