// This host and its VMs as the planner sees them, from the history of use.
#pragma once

#include <string>

#include "api/service.h"
#include "daemon/move_costs.h"
#include "place/fleet_snapshot.h"
#include "store/history_store.h"

namespace forerun::daemon {

inline constexpr size_t kDemandTicks = 120;  // of each VM that are told

// Returns the fleet of one host, called `name`, and those of `vms` that run on it. A VM's demand is
// what its threads would have run had none waited for a CPU, so that a host that is full does not
// look as if nobody wanted more. What a move costs is told by the cost model of migrations, from
// the VM's memory and what is known of links and guests. `rules`: ticks and horizon, the link where
// none was measured. ERRORS: kCorrupt, kIo: of the history.
Result<place::FleetSnapshot> own_fleet(const place::FleetSnapshot& rules,
                                       store::HistoryStore& history, const std::string& name,
                                       const std::vector<api::VmInfo>& vms,
                                       const MoveCosts::Known& costs, int64_t now);

// Adds what another host told of itself; it is called `name` here, whatever it calls itself.
// VMs of a name that is there already are left out, and returned.
std::vector<std::string> add_host(place::FleetSnapshot& fleet, place::FleetSnapshot other,
                                  const std::string& name);

}  // namespace forerun::daemon
