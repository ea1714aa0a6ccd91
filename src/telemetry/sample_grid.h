// Samples of other keepers of history, taken at any time, as values of whole minutes.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "telemetry/metric_query.h"

namespace forerun::telemetry {

// One number for each minute of [begin, begin + 60 × size) unix seconds; nothing where nothing is
// known.
using MinuteValues = std::vector<std::optional<double>>;
inline constexpr int64_t kMinute_s = 60;
// A sample stands for at most so long: as Prometheus takes the last one.
inline constexpr int64_t kStale_s = 300;

// Of a gauge: the mean of the samples in a minute, else the last one before it. Of a counter: its
// rise per second, spread evenly between two samples; it went back: it began anew at 0. A minute of
// which less than half is known has none. `samples` in the order of time; values that are not
// finite end what came before. REQUIRES: begin_s is a multiple of 60.
MinuteValues minutes_of(std::span<const RemoteSample> samples, MetricQuery::Reading reading,
                        int64_t begin_s, size_t minutes);

// Returns what a query's series say, by VM, or by "" of the host. Series without the query's label
// are left out.
std::map<std::string, MinuteValues> joined_minutes(const MetricQuery& query,
                                                   std::span<const RemoteSeries> series,
                                                   int64_t begin_s, size_t minutes);

// Adds to each other what is there in both; where one has nothing, there is nothing.
void add_where_both(MinuteValues& sum, const MinuteValues& other);

}  // namespace forerun::telemetry
