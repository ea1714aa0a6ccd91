// What zones will be asked for against what they have, and what is left of each when another fails.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "forecast/capacity.h"
#include "place/fleet_snapshot.h"

namespace forerun::place {

struct ZoneForecast {
  double ahead_s = 0;
  std::vector<forecast::ZoneOutlook> zones;  // in cores; by name, "" is of hosts without one
};

// Returns an outlook for each horizon, by the forecasts that plans are made with: known events are
// in it, and hosts that are drained or maintained by then have nothing. `quantile_sd`: standard
// deviations above the mean that must fit. How hosts' demands go together is taken from their past.
// ERRORS: as FleetModel::make.
Result<std::vector<ZoneForecast>> forecast_zones(const FleetSnapshot& fleet,
                                                 std::span<const double> horizons_s,
                                                 double quantile_sd);
std::string zones_json(std::span<const ZoneForecast> forecasts);

}  // namespace forerun::place
