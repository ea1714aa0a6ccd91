// What an operator knows of times to come and gone by: maintenance of hosts, launches, growth,
// calendars. docs/plan.md, "Known events", has the format.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "forecast/capacity.h"

namespace forerun::place {

struct FleetSnapshot;

// It is of VMs, whose demand it changes, or of hosts and zones, whose capacity it changes.
struct SnapshotEvent {
  std::string name;
  std::vector<std::string> vms, hosts;  // names, or beginnings of names with a * at the end
  std::vector<std::string> zones;
  double from_s = 0, until_s = 0;  // unix time; of the first time if it comes again
  double every_s = 0;              // 0: once
  double percent = 0;              // demand is so much more
  double added_cores = 0;          // the same, of each VM
  double growth_percent_per_day = 0;
  double capacity_percent = 100;  // of a host's CPUs that are left
  bool is_maintenance = false;    // hosts are empty while it lasts: drained from a horizon before
  bool operator==(const SnapshotEvent&) const = default;
};
inline constexpr size_t kFleetEventsMax = 1000;

// Reads a JSON list of events. ERRORS: kInvalid: what is wrong and where: "events[0].from …".
Result<std::vector<SnapshotEvent>> parse_known_events(std::string_view json);
std::string to_json(const std::vector<SnapshotEvent>& events);
// Returns unix seconds of "2026-12-24T08:00:00Z", or "2026-12-24", which is its first second.
Result<double> parse_utc(std::string_view text);

// Returns those events that change a VM's demand. `like`: rules that name that one are its too.
std::vector<forecast::KnownEvent> events_of_vm(const std::vector<SnapshotEvent>& events,
                                               std::string_view name, std::string_view like = {});
// Returns those events that change what a host has. Maintenance leaves nothing of it.
std::vector<forecast::KnownEvent> events_of_host(const std::vector<SnapshotEvent>& events,
                                                 std::string_view name, std::string_view zone,
                                                 bool with_maintenance);
// Drains the hosts that maintenance comes to within the fleet's horizon, or is at. `now`: unix
// seconds, kept in the fleet.
void apply_events(FleetSnapshot& fleet, double now);

}  // namespace forerun::place
