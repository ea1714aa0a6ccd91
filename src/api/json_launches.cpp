// The answer of /api/v1/launches as JSON text.
#include <boost/json.hpp>
#include <cmath>

#include "api/json_out.h"
#include "os/clock.h"

namespace forerun::api {
namespace {

namespace json = boost::json;

json::value text(std::string_view value) { return json::string(repair_utf8(value)); }

json::value moment(int64_t unix_seconds) {
  return unix_seconds == 0 ? json::value() : json::value(os::format_utc(unix_seconds));
}

json::value value_of(const LaunchForecastInfo& one) {
  json::array pieces;
  for (const LaunchPieceInfo& piece : one.pieces)
    pieces.push_back(
        {{"name", text(piece.name)}, {"probability", piece.probability}, {"weight", piece.weight}});
  return {{"image", text(one.image)},
          {"probability", one.probability},
          {"expected_launches", one.expected_launches},
          {"due_at", moment(one.due_unix_seconds)},
          {"pieces", std::move(pieces)},
          {"foreseen_chunks", one.foreseen_chunks},
          {"foreseen_bytes", one.foreseen_bytes},
          {"foreseen_here_bytes", one.foreseen_here_bytes},
          {"window_open", one.window_open}};
}

json::value value_of(const LaunchComponentInfo& one) {
  json::array images;
  for (const std::string& image : one.images) images.emplace_back(text(image));
  return {{"component", text(one.component)},
          {"probability", one.probability},
          {"due_at", moment(one.due_unix_seconds)},
          {"images", std::move(images)}};
}

json::value value_of(const LaunchWindowInfo& window) {
  return {{"image", text(window.image)},
          {"probability", window.probability},
          {"opened_at", moment(window.opened_unix_seconds)},
          {"launched_at", moment(window.launched_unix_seconds)},
          {"outcome", text(window.outcome)},
          {"foreseen_bytes", window.foreseen_bytes},
          {"fetched_bytes", window.fetched_bytes},
          {"used_bytes", window.used_bytes},
          {"wasted_bytes", window.wasted_bytes}};
}

json::value value_of(const LaunchScoreInfo& score) {
  json::array methods;
  for (const LaunchMethodInfo& method : score.methods)
    methods.push_back({{"name", text(method.name)},
                       {"windows", method.windows},
                       {"windows_hit", method.windows_hit},
                       {"windows_wasted", method.windows_wasted},
                       {"launches_ready", method.launches_ready},
                       {"bytes", method.bytes}});
  return {{"from", moment(score.from_unix_seconds)}, {"launches", score.launches},
          {"launches_late", score.launches_late},    {"windows_late", score.windows_late},
          {"fetched_bytes", score.fetched_bytes},    {"used_bytes", score.used_bytes},
          {"wasted_bytes", score.wasted_bytes},      {"methods", std::move(methods)}};
}

template <typename T>
json::array array_of(const std::vector<T>& items) {
  json::array array;
  for (const T& item : items) array.push_back(value_of(item));
  return array;
}

}  // namespace

std::string to_json(const LaunchReport& report, int64_t as_of) {
  const json::object history = {
      {"lines", report.history_lines},
      {"images", report.history_images},
      {"bytes", report.history_bytes},
      {"refused_lines", report.history_refused_lines},
      {"first_refusal",
       report.history_first_refusal.empty() ? json::value() : text(report.history_first_refusal)},
      {"first_at", moment(report.history_first_unix_seconds)},
      {"last_at", moment(report.history_last_unix_seconds)},
      {"periods_learned", report.ticks_learned}};
  const json::object budget = {{"max_bytes", report.budget_bytes_max},
                               {"available_bytes", report.budget_bytes},
                               {"undecided_bytes", report.undecided_bytes}};
  return json::serialize(json::object{{"state", text(report.state)},
                                      {"host", text(report.host)},
                                      {"period_seconds", report.period_seconds},
                                      {"horizon_seconds", report.horizon_seconds},
                                      {"probability_min", report.probability_min},
                                      {"came_true_ratio", report.came_true_ratio},
                                      {"history", history},
                                      {"budget", budget},
                                      {"items", array_of(report.forecast)},
                                      {"components", array_of(report.components)},
                                      {"windows", array_of(report.windows)},
                                      {"total", value_of(report.total)},
                                      {"hours", array_of(report.hours)},
                                      {"as_of", moment(as_of)}});
}

std::string to_json(const LaunchImportInfo& info) {
  return json::serialize(
      json::object{{"added_lines", info.added_lines}, {"known_lines", info.known_lines}});
}

}  // namespace forerun::api
