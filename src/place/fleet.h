// What the planner sees of a fleet, and what it says: the same for hosts that exist and for those
// of the simulator.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "place/power_curve.h"

namespace forerun::place {

// Demand and capacity are of CPU, in one unit throughout: MHz, MIPS or millicores.
struct FleetHost {
  double capacity = 0;
  double core_capacity = 0;           // the most that one vCPU can get; 0: no limit
  double memory_mb = 0;               // 0: no limit
  const PowerCurve* power = nullptr;  // null: all hosts cost the same
  bool takes_vms = true;              // false: it is drained
};

struct FleetVm {
  int host = -1;  // -1: it runs nowhere, and is left out
  double memory_mb = 0;
  double demand = 0;            // now
  std::span<const float> past;  // demand at the ticks so far, the newest (now) last
  uint32_t ticks_since_move = UINT32_MAX;
  uint32_t moves_lately = 0;  // in the last 24 h
  bool may_move = true;       // false: pinned
};

struct FleetState {
  std::vector<FleetHost> hosts;
  std::vector<FleetVm> vms;
};

enum class MoveReason : uint8_t {
  kRelief,       // its host is asked for more than it has, and that is expected to stay
  kConsolidate,  // its host is not needed
  kDrain,        // its host takes no VMs
};
std::string_view move_reason_name(MoveReason reason);

// Of a host: what its VMs ask for, of its capacity.
struct HostLoad {
  double now = 0;
  double mean = 0;  // expected
  double sd = 0;    // of the sum, so that VMs which rise together count more
};

// What became of the hosts that a VM could have gone to.
struct Alternatives {
  uint32_t considered = 0;
  uint32_t over_memory = 0;
  uint32_t over_load = 0;  // too little is left at the planner's quantile, or one core is too slow
  int second = -1;         // the next best host; -1: none
};

struct PlannedMove {
  int vm = 0;
  int from = 0;
  int to = 0;
  MoveReason reason = MoveReason::kRelief;
  bool wakes_host = false;
  HostLoad from_before, from_after, to_before, to_after;
  Alternatives alternatives;
};

// A host that is asked for too much and stays so.
struct Unrelieved {
  enum class Why : uint8_t { kCoolingDown, kNoHost };
  int host = 0;
  Why why = Why::kNoHost;
  HostLoad load;
  Alternatives alternatives;  // of the VM that was looked at last
};

struct Plan {
  std::vector<PlannedMove> moves;
  std::vector<Unrelieved> unrelieved;
};

}  // namespace forerun::place
