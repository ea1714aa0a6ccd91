#include "forecast/capacity.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>

namespace forerun::forecast {
namespace {

constexpr double kDay_s = 86400;

struct Zone {
  double capacity = 0, mean = 0, variance = 0, sd_sum = 0;
  void add(const Zone& other) {
    capacity += other.capacity;
    mean += other.mean;
    variance += other.variance;
    sd_sum += other.sd_sum;
  }
};

// Of a sum of demands that correlate: between independent and in step.
double deviation(const Zone& zone, double correlation) {
  return std::sqrt((1 - correlation) * zone.variance + correlation * zone.sd_sum * zone.sd_sum);
}

}  // namespace

bool counts_at(const KnownEvent& event, double second) {
  if (second < event.from_s) return false;
  const double length = event.to_s - event.from_s;
  const double since = second - event.from_s;
  return (event.period_s > 0 ? std::fmod(since, event.period_s) : since) < length;
}

DemandForecast with_events(DemandForecast demand, std::span<const KnownEvent> events,
                           double second) {
  double factor = 1, added = 0;
  for (const KnownEvent& event : events) {
    if (!counts_at(event, second)) continue;
    const double days = (second - event.from_s) / kDay_s;
    factor *= event.factor * std::pow(1 + event.growth_per_day, days);
    added += event.added;
  }
  return {std::max(0.0, demand.mean * factor + added), demand.sd * std::abs(factor)};
}

double capacity_with_events(double capacity, std::span<const KnownEvent> events, double second) {
  for (const KnownEvent& event : events)
    if (counts_at(event, second)) capacity *= event.capacity_factor;
  return capacity;
}

double contention_probability(const HostOutlook& host) {
  const double room = host.capacity - host.demand.mean;
  if (host.demand.sd <= 0) return room < 0 ? 1 : 0;
  return 0.5 * std::erfc(room / host.demand.sd / std::numbers::sqrt2);
}

std::vector<ZoneOutlook> zone_outlooks(std::span<const HostOutlook> hosts, double quantile_sd,
                                       double correlation) {
  std::map<std::string, Zone> zones;
  Zone all;
  for (const HostOutlook& host : hosts) {
    const double sd = host.demand.sd;
    const Zone one{host.capacity, host.demand.mean, sd * sd, sd};
    zones[host.zone].add(one);
    all.add(one);
  }
  const auto spare_of = [&](const Zone& zone) {
    return zone.capacity - zone.mean - quantile_sd * deviation(zone, correlation);
  };
  std::vector<ZoneOutlook> outlooks;
  for (const auto& [name, zone] : zones) {
    ZoneOutlook outlook{.zone = name,
                        .capacity = zone.capacity,
                        .demand = {zone.mean, deviation(zone, correlation)},
                        .spare = spare_of(zone),
                        .worst_other = {}};
    outlook.spare_if_other_fails = outlook.spare;
    for (const auto& [other, failed] : zones) {
      if (other == name) continue;
      // What survives has the demand of all.
      Zone left = all;
      left.capacity -= failed.capacity;
      double spare_sum = 0;
      for (const auto& [third, survivor] : zones)
        if (third != other) spare_sum += std::max(0.0, spare_of(survivor));
      const double lost = spare_sum - spare_of(left);  // by what comes from the failed zone
      const double part = spare_sum > 0 ? std::max(0.0, outlook.spare) / spare_sum
                                        : zone.capacity / std::max(left.capacity, 1e-12);
      const double then = outlook.spare - part * lost;
      if (!outlook.worst_other.empty() && then >= outlook.spare_if_other_fails) continue;
      outlook.spare_if_other_fails = then;
      outlook.worst_other = other;
    }
    outlooks.push_back(std::move(outlook));
  }
  return outlooks;
}

}  // namespace forerun::forecast
