#include "cli/usage_contention.h"

#include <boost/json.hpp>
#include <cmath>
#include <map>
#include <optional>

#include "cli/text.h"
#include "cli/usage_forecast.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

constexpr double kTick_s = 300;
constexpr uint32_t kDay = 288;
constexpr size_t kTicksMax = 1 << 17;  // more than a year
const std::vector<uint32_t> kHorizons = {1, 3, 6, 12, 72, 144};
constexpr size_t kShownHorizon = 2;  // whose reliability is shown: 30 min

std::map<int64_t, double> by_tick(const UsagePoints& points) {
  std::map<int64_t, double> values;
  for (const auto& point : points)
    values[static_cast<int64_t>(std::floor(point[0] / kTick_s))] = point[1];
  return values;
}

std::optional<double> at(const std::map<int64_t, double>& values, int64_t tick) {
  const auto found = values.find(tick);
  return found == values.end() ? std::nullopt : std::optional(found->second);
}

}  // namespace

Result<ContentionReport> forecast_contention(const ContentionPast& past) {
  const auto demands = by_tick(past.demand), capacities = by_tick(past.capacity);
  const auto waits = by_tick(past.vcpu_wait), stalls = by_tick(past.cpu_stall);
  if (demands.size() < 2 || capacities.empty())
    return fail(ErrorCode::kNotFound, "cannot forecast: fewer than two points were kept");
  const int64_t first = demands.begin()->first, last = demands.rbegin()->first;
  if (static_cast<uint64_t>(last - first) >= kTicksMax)
    return fail(ErrorCode::kTooLarge, "cannot forecast: the past is too long");
  forecast::ContentionForecaster forecaster({.horizons = kHorizons, .season = kDay});
  ContentionReport report;
  double demand = 0;
  report.capacity = capacities.begin()->second;
  for (int64_t tick = first; tick <= last; ++tick) {
    demand = at(demands, tick).value_or(demand);
    report.capacity = at(capacities, tick).value_or(report.capacity);
    const auto label = forecast::contended({at(waits, tick), at(stalls, tick)});
    forecaster.observe(demand, report.capacity, label);
    ++report.ticks;
    report.labelled += label ? 1 : 0;
    report.contended += label == true ? 1 : 0;
  }
  for (size_t i = 0; i < kHorizons.size(); ++i) {
    report.minutes.push_back(kHorizons[i] * 5);
    report.outlooks.push_back(*forecaster.outlook(i));
    report.scores.push_back(forecaster.score(i));
  }
  return report;
}

std::string contention_table(const ContentionReport& report, const std::string& of) {
  Table table({{"AHEAD", true},
               {"DEMAND", true},
               {"LOW", true},
               {"HIGH", true},
               {"OVER %", true},
               {"CONTENTION %", true},
               {"BRIER", true},
               {"UNCALIBRATED", true},
               {"BASE RATE", true},
               {"SCORED", true}});
  for (size_t i = 0; i < report.minutes.size(); ++i) {
    const auto& outlook = report.outlooks[i];
    const auto& score = report.scores[i];
    const auto brier = [&](double value) {
      return score.count == 0 ? std::string("–") : fmt::format("{:.4f}", value);
    };
    table.add({ahead_words(report.minutes[i]), fmt::format("{:.3g}", outlook.demand.value),
               fmt::format("{:.3g}", outlook.demand.low),
               fmt::format("{:.3g}", outlook.demand.high), fmt::format("{:.1f}", 100 * outlook.raw),
               fmt::format("{:.1f}", 100 * outlook.probability), brier(score.brier),
               brier(score.brier_raw), brier(score.brier_base), fmt::to_string(score.count)});
  }
  std::string text = fmt::format(
      "contention of {}: {} of {} spans of 5 min that were looked at; {:.3g} cores are there\n{}",
      of, report.contended, report.labelled, report.capacity, table.text());
  const auto& shown = report.scores[kShownHorizon];
  for (size_t i = 0; i < shown.bins.size(); ++i) {
    const auto& bin = shown.bins[i];
    if (bin.count == 0) continue;
    const auto count = static_cast<double>(bin.count);
    text += fmt::format("said of {} {:.0f} %: {} times, came {:.0f} %\n",
                        ahead_words(report.minutes[kShownHorizon]), 100 * bin.said / count,
                        bin.count, 100 * static_cast<double>(bin.contended) / count);
  }
  return text;
}

std::string contention_json(const ContentionReport& report) {
  json::array ahead;
  for (size_t i = 0; i < report.minutes.size(); ++i) {
    const auto& outlook = report.outlooks[i];
    const auto& score = report.scores[i];
    json::array bins;
    for (const auto& bin : score.bins)
      bins.push_back({{"count", bin.count}, {"contended", bin.contended}, {"said_sum", bin.said}});
    ahead.push_back({{"minutes", report.minutes[i]},
                     {"demand_cores", outlook.demand.value},
                     {"low", outlook.demand.low},
                     {"high", outlook.demand.high},
                     {"over_probability", outlook.raw},
                     {"contention_probability", outlook.probability},
                     {"scored", score.count},
                     {"contended", score.contended},
                     {"brier", score.brier},
                     {"brier_uncalibrated", score.brier_raw},
                     {"brier_base_rate", score.brier_base},
                     {"reliability", std::move(bins)}});
  }
  return json::serialize(json::value{{"spans", report.ticks},
                                     {"labelled", report.labelled},
                                     {"contended", report.contended},
                                     {"capacity_cores", report.capacity},
                                     {"ahead", std::move(ahead)}});
}

}  // namespace forerun::cli
