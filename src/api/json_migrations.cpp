#include <boost/json.hpp>

#include "api/json_out.h"
#include "os/clock.h"

namespace forerun::api {

namespace json = boost::json;

namespace {

json::object object_of(const EstimateInfo& one) {
  return {{"expected", one.expected}, {"low", one.low}, {"high", one.high}};
}

json::object object_of(const MigrationModeInfo& mode) {
  return {{"mode", mode.mode},
          {"total_s", object_of(mode.total_s)},
          {"downtime_s", object_of(mode.downtime_s)},
          {"blocked_s", object_of(mode.blocked_s)},
          {"bytes", object_of(mode.bytes)},
          {"to_switch_s", mode.to_switch_s},
          {"fits_policy", mode.fits_policy},
          {"why_not", mode.why_not}};
}

json::object object_of(const MigrationForecast& told) {
  json::array modes;
  for (const MigrationModeInfo& mode : told.modes) modes.push_back(object_of(mode));
  return {{"vm", repair_utf8(told.vm)},
          {"to", told.to},
          {"mode", told.mode},
          {"reason", told.reason},
          {"modes", std::move(modes)},
          {"memory_bytes", told.memory_bytes},
          {"zero_bytes", told.zero_bytes},
          {"written_bytes", told.written_bytes},
          {"written_bytes_per_s", told.written_bytes_per_s},
          {"packed_ratio", told.packed_ratio},
          {"difference_ratio", told.difference_ratio},
          {"dry_run_s", told.dry_run_s},
          {"link_bytes_per_s", told.link_bytes_per_s},
          {"round_trip_s", told.round_trip_s}};
}

json::object object_of(const MigrationInfo& one) {
  json::value actual;
  if (one.actual)
    actual = json::object{{"total_s", one.actual->total_s},
                          {"downtime_s", one.actual->downtime_s},
                          {"blocked_s", one.actual->blocked_s},
                          {"bytes", one.actual->bytes}};
  return {{"id", one.id},
          {"began_at", os::format_utc(one.began_unix_seconds)},
          {"state", one.state},
          {"detail", repair_utf8(one.detail)},
          {"is_mode_asked", one.is_mode_asked},
          {"forecast", object_of(one.forecast)},
          {"actual", std::move(actual)}};
}

}  // namespace

std::string to_json(const MigrationForecast& told) { return json::serialize(object_of(told)); }

std::string to_json(const MigrationReport& report, int64_t as_of) {
  json::array items, scores;
  for (const MigrationInfo& one : report.migrations) items.push_back(object_of(one));
  for (const MigrationScoreInfo& score : report.scores)
    scores.push_back({{"mode", score.mode},
                      {"figure", score.figure},
                      {"count", score.count},
                      {"held", score.held},
                      {"factor", score.factor},
                      {"spread", score.spread}});
  return json::serialize(json::value{{"items", std::move(items)},
                                     {"scores", std::move(scores)},
                                     {"as_of", os::format_utc(as_of)}});
}

}  // namespace forerun::api
