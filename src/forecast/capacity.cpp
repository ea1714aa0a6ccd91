#include "forecast/capacity.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>

namespace forerun::forecast {
namespace {

constexpr double kDay_s = 86400;
constexpr double kFactorMin = 0.01;  // below, what was seen says nothing of what it would have been

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

// What all events that count at a time do to a demand.
struct Change {
  double factor = 1, added = 0;
  bool is_usual = true;
};
Change change_at(std::span<const KnownEvent> events, double second);

}  // namespace

bool counts_at(const KnownEvent& event, double second) {
  if (second < event.from_s) return false;
  const double length = event.to_s - event.from_s;
  const double since = second - event.from_s;
  return (event.period_s > 0 ? std::fmod(since, event.period_s) : since) < length;
}

namespace {

Change change_at(std::span<const KnownEvent> events, double second) {
  Change change;
  for (const KnownEvent& event : events) {
    if (!counts_at(event, second)) continue;
    const double days = (second - event.from_s) / kDay_s;
    change.factor *= event.factor * std::pow(1 + event.growth_per_day, days);
    change.added += event.added;
    change.is_usual = change.is_usual && event.factor == 1 && event.added == 0;
  }
  return change;
}

}  // namespace

DemandForecast with_events(DemandForecast demand, std::span<const KnownEvent> events,
                           double second) {
  const Change change = change_at(events, second);
  return {std::max(0.0, demand.mean * change.factor + change.added),
          demand.sd * std::abs(change.factor)};
}

DemandWithoutEvents without_events(double demand, std::span<const KnownEvent> events,
                                   double second) {
  const Change change = change_at(events, second);
  if (!(change.factor > kFactorMin)) return {demand, change.is_usual};
  return {std::max(0.0, (demand - change.added) / change.factor), change.is_usual};
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
