#include "telemetry/control.h"

#include <array>
#include <boost/json.hpp>

namespace forerun::telemetry {
namespace {

namespace json = boost::json;

constexpr std::array<std::string_view, kMetricCount> kMetricNames{
    "cpu", "memory", "working_set", "pattern", "disks", "networks", "pressure"};

Result<Metrics> parse_metrics(const json::value& value) {
  const json::array* names = value.if_array();
  if (names == nullptr) return fail(ErrorCode::kInvalid, "metrics must be a list of names");
  Metrics metrics{0};
  for (const json::value& entry : *names) {
    const json::string* name = entry.if_string();
    if (name == nullptr) return fail(ErrorCode::kInvalid, "metrics must be a list of names");
    const auto found = std::find(kMetricNames.begin(), kMetricNames.end(),
                                 std::string_view(name->data(), name->size()));
    if (found == kMetricNames.end())
      return fail(ErrorCode::kInvalid,
                  fmt::format("no metric is called '{}'; there are {}",
                              std::string_view(name->data(), name->size()).substr(0, 32),
                              fmt::join(kMetricNames, ", ")));
    metrics.bits |= 1u << (found - kMetricNames.begin());
  }
  return metrics;
}

}  // namespace

std::string_view metric_name(Metric metric) { return kMetricNames[static_cast<size_t>(metric)]; }

void Control::update(const Control& other) {
  if (other.period_ms) period_ms = other.period_ms;
  if (other.metrics) metrics = other.metrics;
}

Result<Control> parse_control(std::string_view line) {
  if (line.size() > kControlBytesMax)
    return fail(ErrorCode::kTooLarge, fmt::format("it is over {} bytes", kControlBytesMax));
  json::error_code error;
  json::parse_options options;
  options.max_depth = 2;
  const json::value value = json::parse({line.data(), line.size()}, error, {}, options);
  if (error) return fail(ErrorCode::kInvalid, "it is no JSON: " + error.message());
  const json::object* object = value.if_object();
  if (object == nullptr) return fail(ErrorCode::kInvalid, "it is no JSON object");
  Control control;
  for (const auto& [name, member] : *object) {
    if (name == "period_ms") {
      const int64_t* period = member.if_int64();
      if (period == nullptr || *period < static_cast<int64_t>(kPeriodMsMin) ||
          *period > static_cast<int64_t>(kPeriodMsMax))
        return fail(ErrorCode::kInvalid,
                    fmt::format("period_ms must be a whole number from {} to {}", kPeriodMsMin,
                                kPeriodMsMax));
      control.period_ms = static_cast<uint64_t>(*period);
    } else if (name == "metrics") {
      FR_TRY(control.metrics, parse_metrics(member));
    } else {
      return fail(ErrorCode::kInvalid,
                  fmt::format("there is no member '{}', only period_ms and metrics",
                              std::string_view(name).substr(0, 32)));
    }
  }
  return control;
}

std::string write_control(const Control& control) {
  std::string line = "{";
  if (control.period_ms) line += fmt::format("\"period_ms\":{}", *control.period_ms);
  if (control.metrics) {
    if (line.size() > 1) line += ',';
    line += "\"metrics\":[";
    bool is_first = true;
    for (size_t i = 0; i < kMetricCount; ++i) {
      if (!control.metrics->has(static_cast<Metric>(i))) continue;
      line += fmt::format("{}\"{}\"", is_first ? "" : ",", kMetricNames[i]);
      is_first = false;
    }
    line += ']';
  }
  return line + "}";
}

}  // namespace forerun::telemetry
