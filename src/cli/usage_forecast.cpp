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

Result<UsageForecast> forecast_usage(std::span<const std::array<double, 3>> points,
                                     std::optional<double> limit) {
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
    while (result.samples < static_cast<size_t>(std::max(0.0, steps))) {
      forecaster.observe(value);
      ++result.samples;
    }
    value = points[i][1];
    forecaster.observe(value);
    ++result.samples;
    const Seen seen = watch.observe(value);
    if (seen == Seen::kAnomaly) result.anomalies.push_back(points[i][0]);
    if (result.anomalies.size() > kAnomalies_max) result.anomalies.erase(result.anomalies.begin());
    if (seen != Seen::kRise && seen != Seen::kFall) continue;
    result.changed_at = points[i][0];
    result.rose = seen == Seen::kRise;
  }
  const auto methods = forecast::SeriesForecaster::methods();
  for (size_t h = 0; h < kHorizons.size(); ++h) {
    const auto said = forecaster.forecast(h);
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
    std::vector<std::string> row = {each.minutes < 60 ? fmt::format("{} min", each.minutes)
                                                      : fmt::format("{} h", each.minutes / 60),
                                    fmt::format("{:.4g}", each.value),
                                    fmt::format("{:.4g}", each.low),
                                    fmt::format("{:.4g}", each.high),
                                    fmt::format("{:.3g}", each.error),
                                    each.method};
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

}  // namespace forerun::cli
