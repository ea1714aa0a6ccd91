// What another keeper of history is asked for, to have our metrics: series of a Prometheus, named
// as it names them, and how they become one of ours. docs/usage.md has the format.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "telemetry/remote_read.h"

namespace forerun::telemetry {

// Several queries of one metric are added up, at the times that all of them have.
struct MetricQuery {
  enum class Reading : uint8_t { kGauge, kCounter };          // of a counter: its rise per second
  enum class Joined : uint8_t { kSum, kMean, kMax, kCount };  // of an entity's series
  std::string metric;                                         // of ours
  std::string vm_label;  // the label whose value is the VM's name; empty: it is of the host
  std::vector<LabelMatcher> select;
  Reading reading = Reading::kGauge;
  Joined joined = Joined::kSum;
  double scale = 1;  // what its numbers are multiplied by
};
inline constexpr size_t kMetricQueriesMax = 200;

// Reads `name{label="value", other=~"expression"}`, as Prometheus writes it; = != =~ !~. Values
// stand in double quotes, with \\ \" and \n. ERRORS: kInvalid: what is wrong and where.
Result<std::vector<LabelMatcher>> parse_selector(std::string_view text);

// Reads {"queries": [{"metric", "select", "vm_label", "as": "gauge" | "counter", "join": "sum" |
// "mean" | "max" | "count", "scale"}]}. ERRORS: kInvalid: what is wrong and where.
Result<std::vector<MetricQuery>> parse_metric_queries(std::string_view json);
// Returns what node_exporter and the exporters of libvirt tell, as our metrics.
std::vector<MetricQuery> usual_metric_queries();

// Returns the matcher of one machine's series: its name or address, whatever the exporter's port.
LabelMatcher matcher_of_instance(std::string_view instance);

}  // namespace forerun::telemetry
