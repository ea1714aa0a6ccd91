#include <boost/json.hpp>
#include <cmath>

#include "api/json_out.h"
#include "os/clock.h"

namespace forerun::api {

namespace json = boost::json;

std::string to_json(const VmProfile& profile, int64_t as_of) {
  json::array refused, window;
  for (const ProfileRefusal& refusal : profile.refused)
    refused.push_back({{"reason", refusal.reason}, {"lines", refusal.lines}});
  for (const ProfileValue& value : profile.window)
    window.push_back({{"name", value.name},
                      {"last", value.last},
                      {"mean", value.mean},
                      {"min", value.min},
                      {"max", value.max},
                      {"count", value.count}});
  json::object asked;
  if (profile.asked.period_ms) asked["period_ms"] = *profile.asked.period_ms;
  if (profile.asked.metrics) {
    json::array& names = asked["metrics"].emplace_array();
    for (size_t i = 0; i < telemetry::kMetricCount; ++i) {
      const auto metric = static_cast<telemetry::Metric>(i);
      if (profile.asked.metrics->has(metric)) names.emplace_back(telemetry::metric_name(metric));
    }
  }
  // It was written by this daemon from what it had checked; were it none, it would be null.
  json::error_code error;
  json::value newest = json::parse(profile.profile_json, error);
  if (error) newest = nullptr;
  return json::serialize(json::value{
      {"name", repair_utf8(profile.name)},
      {"as_of", os::format_utc(as_of)},
      {"asked", std::move(asked)},
      {"connected", profile.is_connected},
      {"age_seconds", profile.age_seconds < 0 ? json::value() : json::value(profile.age_seconds)},
      {"taken", profile.taken},
      {"lost", profile.lost},
      {"instances", profile.instances},
      {"refused", std::move(refused)},
      {"last_refusal", repair_utf8(profile.last_refusal)},
      {"window_seconds", profile.window_seconds},
      {"window_profiles", profile.window_profiles},
      {"window", std::move(window)},
      {"profile", std::move(newest)}});
}

}  // namespace forerun::api
