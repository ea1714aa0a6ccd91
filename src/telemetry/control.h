// What the host tells an agent: one line of JSON, {"period_ms":500,"metrics":["cpu","memory"]}.
// Either member may be missing, and then stays as it is. The API takes the same form, and a VM's
// record keeps it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"

namespace forerun::telemetry {

enum class Metric : uint8_t {
  kCpu,
  kMemory,
  kWorkingSet,
  kPattern,
  kDisks,
  kNetworks,
  kPressure,
};
inline constexpr size_t kMetricCount = 7;
std::string_view metric_name(Metric metric);

// A set of metrics.
struct Metrics {
  uint32_t bits = (1u << kMetricCount) - 1;  // all
  bool has(Metric metric) const { return (bits >> static_cast<uint32_t>(metric) & 1) != 0; }
  bool operator==(const Metrics&) const = default;
};

struct Control {
  std::optional<uint64_t> period_ms;
  std::optional<Metrics> metrics;
  bool is_empty() const { return !period_ms && !metrics; }
  // Takes what `other` says, and keeps what it does not say.
  void update(const Control& other);
  bool operator==(const Control&) const = default;
};

inline constexpr uint64_t kPeriodMsMin = 100;
inline constexpr uint64_t kPeriodMsMax = 3600'000;
inline constexpr size_t kControlBytesMax = 1024;

// ERRORS: kInvalid, kTooLarge: what is wrong with it, and what would be right; the line changes
// nothing then.
Result<Control> parse_control(std::string_view line);
std::string write_control(const Control& control);

}  // namespace forerun::telemetry
