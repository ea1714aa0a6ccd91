#include "place/zone_forecast.h"

#include <algorithm>
#include <boost/json.hpp>
#include <cmath>
#include <map>

#include "place/fleet_model.h"
#include "place/load_book.h"

namespace forerun::place {
namespace {

namespace json = boost::json;

constexpr size_t kPastTicks = 60;
constexpr size_t kPastMin = 10;

// How demands of hosts go together: of two of them, on average. From what the variance of their sum
// is beside that of hosts that had nothing to do with each other.
double correlation_of(const FleetSnapshot& fleet) {
  std::map<std::string_view, std::vector<double>> sums;  // by host, the newest first
  for (const SnapshotVm& vm : fleet.vms) {
    if (vm.host.empty()) continue;
    std::vector<double>& sum = sums.try_emplace(vm.host, kPastTicks, 0.0).first->second;
    const size_t count = std::min(vm.demand.size(), kPastTicks);
    for (size_t i = 0; i < count; ++i)
      sum[i] += static_cast<double>(vm.demand[vm.demand.size() - 1 - i]);
  }
  size_t known = kPastTicks;
  for (const SnapshotVm& vm : fleet.vms)
    if (!vm.demand.empty()) known = std::min(known, vm.demand.size());
  if (known < kPastMin || sums.size() < 2) return 0;
  const auto variance_of = [&](const std::vector<double>& values) {
    double sum = 0, squares = 0;
    for (size_t i = 0; i < known; ++i) {
      sum += values[i];
      squares += values[i] * values[i];
    }
    const auto n = static_cast<double>(known);
    return std::max(0.0, squares - sum * sum / n) / (n - 1);
  };
  std::vector<double> total(kPastTicks);
  double own = 0, deviations = 0;
  for (const auto& [host, values] : sums) {
    for (size_t i = 0; i < known; ++i) total[i] += values[i];
    const double variance = variance_of(values);
    own += variance;
    deviations += std::sqrt(variance);
  }
  const double in_step = deviations * deviations - own;
  return in_step > 0 ? std::clamp((variance_of(total) - own) / in_step, 0.0, 1.0) : 0.0;
}

std::vector<forecast::HostOutlook> outlooks_of(const FleetModel& model, double ahead_s) {
  const FleetSnapshot& fleet = model.snapshot();
  const LoadBook book(model.state(), {});
  std::vector<forecast::HostOutlook> outlooks;
  for (size_t h = 0; h < fleet.hosts.size(); ++h) {
    const FleetHost& host = model.state().hosts[h];
    const HostLoad& load = book.load(static_cast<int>(h));
    forecast::HostOutlook outlook;
    outlook.zone = fleet.hosts[h].zone;
    outlook.demand.mean = (load.is_foreseen ? load.ahead : load.now) * host.capacity;
    outlook.demand.sd = (load.is_foreseen ? load.ahead_sd : load.sd) * host.capacity;
    const auto events =
        events_of_host(fleet.events, fleet.hosts[h].name, fleet.hosts[h].zone, true);
    const double left =
        fleet.unix_s > 0 ? forecast::capacity_with_events(1, events, fleet.unix_s + ahead_s) : 1;
    outlook.capacity = host.takes_vms && left > 0 ? host.capacity : 0;
    outlooks.push_back(std::move(outlook));
  }
  return outlooks;
}

}  // namespace

Result<std::vector<ZoneForecast>> forecast_zones(const FleetSnapshot& fleet,
                                                 std::span<const double> horizons_s,
                                                 double quantile_sd) {
  const double correlation = correlation_of(fleet);
  std::vector<ZoneForecast> forecasts;
  for (const double ahead_s : horizons_s) {
    FleetSnapshot then = fleet;
    then.horizon_s = ahead_s;
    FR_TRY(const auto model, FleetModel::make(std::move(then)));
    forecasts.push_back(
        {ahead_s, forecast::zone_outlooks(outlooks_of(*model, ahead_s), quantile_sd, correlation)});
  }
  return forecasts;
}

std::string zones_json(std::span<const ZoneForecast> forecasts) {
  json::array ahead;
  for (const ZoneForecast& each : forecasts) {
    json::array zones;
    for (const forecast::ZoneOutlook& zone : each.zones) {
      json::object object{{"zone", zone.zone},
                          {"capacity_cores", zone.capacity},
                          {"demand_cores", zone.demand.mean},
                          {"demand_sd", zone.demand.sd},
                          {"spare_cores", zone.spare},
                          {"spare_cores_if_other_fails", zone.spare_if_other_fails}};
      if (!zone.worst_other.empty()) object["worst_other"] = zone.worst_other;
      zones.push_back(std::move(object));
    }
    ahead.push_back({{"seconds", each.ahead_s}, {"zones", std::move(zones)}});
  }
  return json::serialize(json::value{{"ahead", std::move(ahead)}});
}

}  // namespace forerun::place
