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

// Demand and capacity are of CPU, in one unit throughout: MHz, MIPS or cores.
struct FleetHost {
  double capacity = 0;
  double core_capacity = 0;           // the most that one vCPU can get; 0: no limit
  double memory_mb = 0;               // 0: no limit
  const PowerCurve* power = nullptr;  // null: all hosts cost the same
  bool takes_vms = true;              // false: it is drained
  uint32_t zone = 0;
};

// A forecast of a VM's demand within the horizon.
struct Expectation {
  bool is_known = false;
  double mean = 0;
  double sd = 0;  // of what the forecast errs by
};

// What moving a VM takes, as a cost model says; all 0: nothing is known, and it counts as free.
struct MoveCost {
  double bytes = 0;
  double seconds = 0;     // from the order to the end
  double downtime_s = 0;  // of these
  bool is_free() const { return bytes <= 0 && seconds <= 0 && downtime_s <= 0; }
};

struct FleetVm {
  int host = -1;  // -1: it runs nowhere, and is left out unless it starts
  double memory_mb = 0;
  double demand = 0;            // now
  std::span<const float> past;  // demand at the ticks so far, the newest (now) last
  uint32_t ticks_since_move = UINT32_MAX;
  uint32_t moves_lately = 0;  // in the last 24 h
  bool may_move = true;       // false: pinned
  bool starts = false;        // with no host: it is to be given one
  Expectation expected;
  MoveCost cost;
  double priority = 1;      // how much its demand weighs, where it is not met
  double interruption = 1;  // how much its downtime weighs: 0 tolerates any
  int category = -1;        // of workload, for affinities; -1: not known
};

// What must hold of where VMs are. A plan breaks none that holds, and mends those that do not.
struct PlacementRule {
  enum class Kind : uint8_t {
    kTogether,  // all on one host (in one zone)
    kApart,     // at most `at_most` on one host (in one zone)
    kOnly,      // on none but `hosts`
    kNever,     // on none of `hosts`
    kHostsMax,  // on at most `at_most` hosts: a licence by the host
  };
  Kind kind = Kind::kTogether;
  bool is_by_zone = false;  // kTogether, kApart, kHostsMax: of zones instead of hosts
  std::string name;         // for people
  std::vector<int> vms;
  std::vector<int> hosts;
  uint32_t at_most = 1;
};
std::string_view rule_kind_name(PlacementRule::Kind kind);

// From one zone to another.
struct ZoneLink {
  double cost_per_gib = 0;  // of what a move sends, in capacity × seconds
  double latency_ms = 0;
};

struct FleetState {
  std::vector<FleetHost> hosts;
  std::vector<FleetVm> vms;
  std::vector<PlacementRule> rules;
  uint32_t moves_left = UINT32_MAX;  // that may be made now
  uint32_t zones = 1;
  std::vector<double> zone_prices;   // of a host's capacity, beside 1; by zone, or empty
  std::vector<ZoneLink> zone_links;  // zones × zones, or empty
  uint32_t categories = 0;
  std::vector<float> affinities;  // hosts × categories, 0 to 1; or empty
};

enum class MoveReason : uint8_t {
  kRelief,       // its host is asked for more than it has, or will be
  kConsolidate,  // its host is not needed
  kDrain,        // its host takes no VMs
  kRule,         // where it is, a rule does not hold
  kPlace,        // it starts
};
std::string_view move_reason_name(MoveReason reason);

// Of a host: what its VMs ask for, of its capacity.
struct HostLoad {
  double now = 0;
  double mean = 0;  // expected, by the past
  double sd = 0;    // of the sum, so that VMs which rise together count more
  bool is_foreseen = false;
  double ahead = 0;  // expected within the horizon, by the VMs' forecasts
  double ahead_sd = 0;
};

// Why a VM does not move, or not to a host.
enum class RejectReason : uint8_t {
  kMemory,       // the host has too little
  kLoad,         // too little is left at the planner's quantile
  kCore,         // one core is too slow
  kRule,         // a rule would be broken
  kWorse,        // there is a better host
  kPinned,       // it may not move
  kCoolingDown,  // it moved lately
  kNotWorth,     // what is avoided is less than what it costs
  kPayback,      // it pays only after too long
  kNoHost,       // none has room
  kMoveLimit,    // as many moves as are allowed were made
};
std::string_view reject_reason_name(RejectReason reason);

// What a move is worth, in capacity × seconds of demand.
struct MoveValue {
  double avoided = 0;     // demand met within the horizon that would not be
  double cost = 0;        // of making it
  double payback_s = 0;   // from the order; infinite: never
  double confidence = 0;  // that it helps: the source would be over, and the target will not be
};

struct Rejected {
  int vm = -1;
  int host = -1;  // -1: it is about the VM
  RejectReason reason = RejectReason::kWorse;
  int rule = -1;
  HostLoad after;           // of the host, with the VM; of a VM: of its host without it
  double memory_mb = 0;     // of the host, with the VM
  uint32_t ticks_left = 0;  // kCoolingDown: until it may move
  MoveValue value;          // kNotWorth, kPayback
};

// What became of the hosts that a VM could have gone to.
struct Alternatives {
  uint32_t considered = 0;
  uint32_t over_memory = 0;
  uint32_t over_load = 0;  // too little is left at the planner's quantile, or one core is too slow
  uint32_t over_rule = 0;
  int second = -1;  // the next best host; -1: none
};

struct PlannedMove {
  int vm = 0;
  int from = 0;  // -1: it starts
  int to = 0;
  MoveReason reason = MoveReason::kRelief;
  int rule = -1;  // kRule: which
  bool wakes_host = false;
  HostLoad from_before, from_after, to_before, to_after;
  Alternatives alternatives;
  MoveValue value;
  std::vector<Rejected> rejected;  // only if it is to be explained
};

// What is wrong and stays so: a host that is asked for too much, a VM that finds no host, a rule
// that does not hold.
struct Unrelieved {
  enum class Why : uint8_t { kCoolingDown, kNoHost, kNotWorth, kMoveLimit };
  int host = -1;  // -1: it is of a VM that starts
  Why why = Why::kNoHost;
  HostLoad load;
  Alternatives alternatives;  // of the VM that was looked at last
  int vm = -1;                // that finds no host; -1: any of the host's
  int rule = -1;
  std::vector<Rejected> rejected;  // only if it is to be explained
};
std::string_view unrelieved_reason_name(Unrelieved::Why why);

struct Plan {
  std::vector<PlannedMove> moves;
  std::vector<Unrelieved> unrelieved;
};

}  // namespace forerun::place
