// A fleet as it is written down, with names: in a file, or as one host's daemon tells another.
// docs/plan.md has the format.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "place/fleet.h"
#include "place/known_events.h"

namespace forerun::place {

struct SnapshotHost {
  std::string name, zone;
  std::map<std::string, std::string> labels;
  double cores = 0;           // that VMs may use, with those in use by others
  uint64_t memory_bytes = 0;  // the same; 0: no limit
  double used_cores = 0;      // by what is no VM
  uint64_t used_memory_bytes = 0;
  bool is_drained = false;
  std::vector<double> watts;  // at 0, 10 … 100 % of its cores; or empty
  bool operator==(const SnapshotHost&) const = default;
};

struct SnapshotVm {
  std::string name, host;  // no host: it starts
  std::string going_to;    // a host, while it moves there
  std::string like;        // rules that name this one are its too
  std::map<std::string, std::string> labels;
  double cpus = 0;  // the most it can ask for; 0: no limit
  uint64_t memory_bytes = 0;
  std::vector<float> demand;           // cores, a value a tick, the newest last
  std::vector<uint32_t> moved_before;  // ticks since each of its moves in the last 24 h
  bool is_pinned = false;
  double priority = 1, interruption = 1;
  MoveCost move;
  std::string category;  // of workload; empty: not known
  // What else tells the category, if that is not said: of the last ticks.
  double memory_ratio = 0;    // resident, of its memory
  double io_bytes_per_s = 0;  // of its disk
  double waited_cores = 0;    // of its demand, the newest tick's
  bool operator==(const SnapshotVm&) const;
};

struct SnapshotRule {
  PlacementRule::Kind kind = PlacementRule::Kind::kTogether;
  std::string name;
  std::vector<std::string> vms;    // names, or beginnings of names with a * at the end
  std::vector<std::string> hosts;  // the same
  std::map<std::string, std::string> host_labels;  // hosts that have all of these
  std::vector<std::string> zones;                  // all hosts of these
  uint32_t at_most = 1;
  bool is_by_zone = false;
  bool operator==(const SnapshotRule&) const = default;
};

struct SnapshotZone {
  std::string name;
  double price = 1;
  bool operator==(const SnapshotZone&) const = default;
};

struct SnapshotZoneLink {
  std::string from, to;  // both ways
  double latency_ms = 0, cost_per_gib = 0;
  bool operator==(const SnapshotZoneLink&) const = default;
};

// How well a host serves VMs of a category.
struct SnapshotAffinity {
  std::string host, category;
  double score = 0;  // 0 to 1
  bool operator==(const SnapshotAffinity&) const = default;
};

// What an operator says of VMs and hosts, beside what they are.
struct SnapshotVmSetting {
  std::vector<std::string> vms;  // patterns, as of rules
  std::optional<double> priority, interruption;
  std::optional<bool> is_pinned;
};
struct SnapshotHostSetting {
  std::vector<std::string> hosts;
  std::string zone;
  std::map<std::string, std::string> labels;
  std::optional<double> cores, memory_bytes;  // that VMs may use, whatever others do
  std::optional<bool> is_drained;
  // Maintenance, in unix seconds: drained from a horizon before it until its end.
  double maintenance_from = 0, maintenance_until = 0;
};

struct FleetSnapshot {
  double tick_s = 300;
  double horizon_s = 1800;
  uint32_t season_ticks = 0;      // of a period of demand; 0: a day, if there are two of them
  uint32_t moves_max = 1u << 20;  // that may be made now
  bool consolidates = false;
  double link_bytes_per_s = 125e6;  // between hosts, as moves are reckoned that are not said
  std::vector<SnapshotHost> hosts;
  std::vector<SnapshotVm> vms;
  std::vector<SnapshotRule> rules;
  std::vector<SnapshotZone> zones;
  std::vector<SnapshotZoneLink> zone_links;
  std::vector<SnapshotAffinity> affinities;
  std::vector<SnapshotVmSetting> vm_settings;
  std::vector<SnapshotHostSetting> host_settings;
  std::vector<SnapshotEvent> events;
  double unix_s = 0;  // when it was so; 0: not known, and no event counts
};

inline constexpr size_t kFleetHostsMax = 20'000, kFleetVmsMax = 200'000, kFleetRulesMax = 1000;
inline constexpr size_t kDemandMax = 20'000;  // values of one VM

// ERRORS: kInvalid: what is wrong and where: "vms[3].demand[0] must be a number from 0 to 1e9".
Result<FleetSnapshot> parse_fleet(std::string_view text);
// Settings are not written: they have been applied.
std::string to_json(const FleetSnapshot& fleet);

// Lays the settings over hosts and VMs. `now`: unix seconds.
void apply_settings(FleetSnapshot& fleet, int64_t now);

// Returns whether a pattern of a rule means this name.
bool is_meant(std::string_view pattern, std::string_view name);

// A question, laid over a fleet: "host h3 drained", "host h3 lost", "+2 hosts like h1",
// "+20 VMs like web1", "VM web1 gone", "VM web1 x1.5", "demand x1.2". ERRORS: kInvalid: it is none
// of these; kNotFound: nothing of that name.
Status suppose(FleetSnapshot& fleet, std::string_view what_if);

}  // namespace forerun::place
