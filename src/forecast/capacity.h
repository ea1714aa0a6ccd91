// What hosts and zones will be asked for against what they have: room at a quantile, the
// probability of contention, and what is left of a zone if another fails. Known events change what
// was foreseen from the past alone.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace forerun::forecast {

// What is known of the time to come: maintenance, a launch, growth, a holiday. Demand in
// [from_s, to_s) is multiplied and added to; a period repeats it. Growth goes on from `from_s`.
struct KnownEvent {
  double from_s = 0, to_s = 0;  // unix time; of the first time if it repeats
  double period_s = 0;          // 0: once
  double factor = 1;
  double added = 0;            // in the unit of the demand
  double growth_per_day = 0;   // of 1, compounded
  double capacity_factor = 1;  // of the capacity that is there: 0 while a host is maintained
};
// Returns whether an event counts at a time.
bool counts_at(const KnownEvent& event, double second);

struct DemandForecast {
  double mean = 0, sd = 0;
};
// Returns the demand with those events that count at `second`.
DemandForecast with_events(DemandForecast demand, std::span<const KnownEvent> events,
                           double second);
// Returns what a demand that was seen at `second` would have been without those events, and
// whether any but growth was under way: it says little then of other days.
struct DemandWithoutEvents {
  double demand = 0;
  bool is_usual = true;
};
DemandWithoutEvents without_events(double demand, std::span<const KnownEvent> events,
                                   double second);
double capacity_with_events(double capacity, std::span<const KnownEvent> events, double second);

struct HostOutlook {
  std::string zone;
  double capacity = 0;
  DemandForecast demand;
};
// Returns the probability that demand exceeds capacity, if it is normal. Certain if sd is 0.
double contention_probability(const HostOutlook& host);

struct ZoneOutlook {
  std::string zone;
  double capacity = 0;
  DemandForecast demand;
  double spare = 0;  // capacity less demand at the quantile; negative: too little
  // If another zone fails and its demand comes here and to the others in proportion to what is
  // spare on them: what is left over then at the worst, and which zone that is. Negative: too
  // little.
  double spare_if_other_fails = 0;
  std::string worst_other;  // empty: there is no other zone
};
// `quantile_sd`: standard deviations above the mean that must fit. `correlation`, of [0, 1]: of
// demands of hosts with each other. Zones by name.
std::vector<ZoneOutlook> zone_outlooks(std::span<const HostOutlook> hosts, double quantile_sd,
                                       double correlation);

}  // namespace forerun::forecast
