#include "cli/usage_forecast.h"

#include <boost/json.hpp>
#include <cmath>

#include "cli/text.h"
#include "forecast/capacity.h"
#include "forecast/change_watch.h"
#include "forecast/series_forecast.h"
#include "os/clock.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;
using forecast::Seen;

constexpr double kInterval_s = 300;
constexpr uint32_t kDay = 288;
constexpr size_t kGrid_max = 1 << 17;  // more than a year
constexpr size_t kAnomalies_max = 5;
constexpr double kSdsOf90 = 1.645;  // half the width of a normal's 90 %
const std::vector<uint32_t> kHorizons = {1, 3, 6, 12, 72, 144};

}  // namespace

std::string ahead_words(uint32_t minutes) {
  return minutes < 60 ? fmt::format("{} min", minutes) : fmt::format("{} h", minutes / 60);
}

Result<UsageForecast> forecast_usage(std::span<const std::array<double, 3>> points,
                                     std::optional<double> limit,
                                     std::span<const forecast::KnownEvent> events) {
  if (points.size() < 2)
    return fail(ErrorCode::kNotFound, "cannot forecast: fewer than two points were kept");
  forecast::SeriesForecaster forecaster({.horizons = kHorizons, .season = kDay});
  forecast::ChangeWatch watch({});
  UsageForecast result;
  const double first = points.front()[0];
  double value = points.front()[1];
  for (size_t i = 0; i < points.size(); ++i) {
    const double steps = std::floor((points[i][0] - first) / kInterval_s);
    if (!(steps < kGrid_max))
      return fail(ErrorCode::kTooLarge, "cannot forecast: the past is too long");
    // A point that shares its interval with the one before adds nothing new.
    if (i > 0 && static_cast<size_t>(std::max(0.0, steps)) < result.samples) continue;
    const auto observe = [&] {
      const double at = first + static_cast<double>(result.samples) * kInterval_s;
      const auto usual = forecast::without_events(value, events, at);
      forecaster.observe(usual.demand, usual.is_usual);
      ++result.samples;
      return usual.demand;
    };
    while (result.samples < static_cast<size_t>(std::max(0.0, steps))) observe();
    value = points[i][1];
    const Seen seen = watch.observe(observe());
    if (seen == Seen::kAnomaly) result.anomalies.push_back(points[i][0]);
    if (result.anomalies.size() > kAnomalies_max) result.anomalies.erase(result.anomalies.begin());
    if (seen != Seen::kRise && seen != Seen::kFall) continue;
    result.changed_at = points[i][0];
    result.rose = seen == Seen::kRise;
  }
  const auto methods = forecast::SeriesForecaster::methods();
  for (size_t h = 0; h < kHorizons.size(); ++h) {
    auto said = forecaster.forecast(h);
    const double at = first + static_cast<double>(result.samples - 1 + kHorizons[h]) * kInterval_s;
    for (double* each : {&said->value, &said->low, &said->high})
      *each = events.empty() ? *each : forecast::with_events({*each, 0}, events, at).mean;
    UsageAhead ahead{.minutes = kHorizons[h] * 5,
                     .value = said->value,
                     .low = said->low,
                     .high = said->high,
                     .method = std::string(said->method),
                     .over = std::nullopt};
    const auto errors = forecaster.errors(h);
    for (size_t m = 0; m < methods.size(); ++m)
      if (methods[m] == said->method) ahead.error = errors[m];
    const double sd = (said->high - said->low) / (2 * kSdsOf90);
    if (limit) ahead.over = forecast::contention_probability({"", *limit, {said->value, sd}});
    result.ahead.push_back(std::move(ahead));
  }
  return result;
}

std::string usage_forecast_table(const UsageForecast& forecast, const std::string& metric) {
  const bool has_limit = forecast.ahead.front().over.has_value();
  std::vector<Table::Column> columns = {{"AHEAD", true}, {metric, true},  {"LOW", true},
                                        {"HIGH", true},  {"ERROR", true}, {"METHOD"}};
  if (has_limit) columns.push_back({"OVER %", true});
  Table table(columns);
  for (const UsageAhead& each : forecast.ahead) {
    std::vector<std::string> row = {
        ahead_words(each.minutes),         fmt::format("{:.4g}", each.value),
        fmt::format("{:.4g}", each.low),   fmt::format("{:.4g}", each.high),
        fmt::format("{:.3g}", each.error), each.method};
    if (has_limit) row.push_back(fmt::format("{:.1f}", 100 * *each.over));
    table.add(row);
  }
  std::string text =
      fmt::format("from {} samples of 5 min; 90 % are expected between LOW and HIGH\n{}",
                  forecast.samples, table.text());
  if (forecast.changed_at > 0)
    text += fmt::format("took a {} level at {}\n", forecast.rose ? "higher" : "lower",
                        os::format_utc(static_cast<int64_t>(forecast.changed_at)));
  for (const double at : forecast.anomalies)
    text += fmt::format("unusual at {}\n", os::format_utc(static_cast<int64_t>(at)));
  return text;
}

std::string usage_forecast_json(const UsageForecast& forecast) {
  json::array ahead;
  for (const UsageAhead& each : forecast.ahead) {
    json::object object{{"minutes", each.minutes}, {"value", each.value}, {"low", each.low},
                        {"high", each.high},       {"error", each.error}, {"method", each.method}};
    if (each.over) object["over_probability"] = *each.over;
    ahead.push_back(std::move(object));
  }
  json::object all{{"samples", forecast.samples}, {"ahead", std::move(ahead)}};
  if (forecast.changed_at > 0)
    all["change"] = {{"at", forecast.changed_at}, {"rose", forecast.rose}};
  all["anomalies"] = json::value_from(forecast.anomalies);
  return json::serialize(all);
}

std::string zones_table(std::span<const place::ZoneForecast> forecasts) {
  Table table({{"AHEAD", true},
               {"ZONE"},
               {"CORES", true},
               {"DEMAND", true},
               {"SD", true},
               {"SPARE", true},
               {"IF ONE FAILS", true},
               {"WORST"}});
  const auto cores = [](double value) { return fmt::format("{:.1f}", value); };
  for (const place::ZoneForecast& each : forecasts)
    for (const forecast::ZoneOutlook& zone : each.zones)
      table.add({ahead_words(static_cast<uint32_t>(each.ahead_s / 60)),
                 zone.zone.empty() ? "(none)" : zone.zone, cores(zone.capacity),
                 cores(zone.demand.mean), cores(zone.demand.sd), cores(zone.spare),
                 zone.worst_other.empty() ? "–" : cores(zone.spare_if_other_fails),
                 zone.worst_other});
  return table.text() +
         "SPARE: cores that are left above the demand and 1.4 of its standard deviations\n";
}

}  // namespace forerun::cli
