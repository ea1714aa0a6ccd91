// How a host and its VMs were used, as the API tells it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "telemetry/history.h"
#include "telemetry/metric_query.h"

namespace forerun::api {

struct UsageRequest {
  telemetry::SeriesName name;
  int64_t last_seconds = 3600;
  uint32_t points_max = 500;
  // Overrides what the two above choose.
  std::optional<telemetry::Resolution> resolution;
};
inline constexpr int64_t kUsageSecondsMax = 400 * 86400;
inline constexpr uint32_t kUsagePointsMax = 20'000;

struct UsagePoint {
  int64_t unix_seconds = 0;  // begin of its span
  double mean = 0, max = 0;
};

struct UsageInfo {
  telemetry::SeriesName name;
  telemetry::Resolution resolution = telemetry::Resolution::k10s;
  std::vector<UsagePoint> points;
};

// History that a Prometheus has. What is empty is as it is configured.
struct UsageImportRequest {
  std::string url, instance;
  std::vector<telemetry::MetricQuery> queries;
  int64_t last_seconds = 30 * 86400;
};

// Values of a VM's own metrics.
using PushRequest = std::vector<std::pair<std::string, double>>;

}  // namespace forerun::api
