// What CloudSim's example reports of a run: service levels of hosts and VMs, from their states.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace forerun::place {

// Ratios of 1.
struct SlaFigures {
  double slatah = 0;  // time with less allocated than asked, of the time hosts were active
  double slatah_corrected = 0;  // the same, where a VM on its way in asks for the 10 % it can use
  double pdm = 0;               // demand not met while migrating, of all demand
  double unserved = 0;          // demand not met, of all demand
  double average = 0;           // mean share missing in the intervals of VMs that miss something
};

// States replace each other at one time; a state lasts until the next.
class CloudsimMeter {
 public:
  CloudsimMeter(size_t hosts, size_t vms) : hosts_(hosts), vms_(vms) {}

  struct HostState {
    double time = -1;
    double allocated = 0;  // MIPS
    double requested = 0;
    double requested_corrected = 0;
    bool is_active = false;
  };
  struct VmState {
    double time = -1;
    double allocated = 0;
    double requested = 0;
    bool is_migrating = false;
  };
  void host(size_t host, const HostState& state);
  void vm(size_t vm, const VmState& state);
  // Ends the states that stand. Once, at the end.
  void finish();

  SlaFigures figures() const;
  uint64_t shutdowns() const { return shutdowns_; }
  double active_s() const { return active_s_; }

 private:
  template <typename State>
  struct Trail {
    State standing, before;  // time < 0: none
  };
  void settle(Trail<HostState>& trail);
  void settle(Trail<VmState>& trail);

  std::vector<Trail<HostState>> hosts_;
  std::vector<Trail<VmState>> vms_;
  double active_s_ = 0, short_s_ = 0, short_corrected_s_ = 0;
  double requested_ = 0, allocated_ = 0, missed_migrating_ = 0;
  double shortfalls_ = 0;
  uint64_t shortfall_count_ = 0;
  uint64_t shutdowns_ = 0;
};

}  // namespace forerun::place
