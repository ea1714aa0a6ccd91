// What a kept series will do, from its past alone: for `forerun usage forecast`.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "place/zone_forecast.h"

namespace forerun::cli {

// One horizon; values in the unit of the metric.
struct UsageAhead {
  uint32_t minutes = 0;
  double value = 0, low = 0, high = 0;  // 90 % are expected between
  double error = 0;                     // mean absolute error of the method so far
  std::string method;
  std::optional<double> over;  // probability of more than the limit
};

struct UsageForecast {
  size_t samples = 0;
  std::vector<UsageAhead> ahead;  // 5 min to 12 h
  // When the series took another level the last time, and whether it rose. 0: it did not.
  double changed_at = 0;
  bool rose = false;
  std::vector<double> anomalies;  // unix seconds, the last few
};

std::string ahead_words(uint32_t minutes);  // "30 min", "6 h"

// `points`: unix time, mean and most of it, in order, about one per 300 s; gaps are filled forward.
// `events`: that change the series. What they brought is taken out of the past, and the season is
// not learned from it; they are in what is foreseen. ERRORS: kNotFound for fewer than two.
Result<UsageForecast> forecast_usage(std::span<const std::array<double, 3>> points,
                                     std::optional<double> limit,
                                     std::span<const forecast::KnownEvent> events = {});
std::string usage_forecast_table(const UsageForecast& forecast, const std::string& metric);
std::string usage_forecast_json(const UsageForecast& forecast);
std::string zones_table(std::span<const place::ZoneForecast> forecasts);

}  // namespace forerun::cli
