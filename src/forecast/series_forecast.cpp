#include "forecast/series_forecast.h"

#include <algorithm>
#include <cmath>

namespace forerun::forecast {
namespace {

constexpr std::array<std::string_view, 12> kNames = {
    "last", "ewma_0.5", "ewma_0.15", "holt",   "mean_12",     "mean",
    "ar_1", "ar_12",    "median_12", "season", "season_mean", "holt_winters"};
constexpr double kQuick = 0.5, kSlow = 0.15;
constexpr double kLevel = 0.4, kTrend = 0.05;
constexpr double kSeasonMean = 0.3, kSeasonLevel = 0.3, kSeasonIndex = 0.2;
constexpr double kMoments = 0.01;  // how fast those of the AR(1) are forgotten
// Another method must be this much better: two that are as good would take turns.
constexpr double kMargin = 0.98;

}  // namespace

SeriesForecaster::SeriesForecaster(Options options) : options_(std::move(options)) {
  for (const uint32_t samples : options_.horizons) {
    Horizon horizon;
    horizon.samples = std::max<uint32_t>(samples, 1);
    horizon.said.resize(horizon.samples);
    if (options_.has_lags) horizon.looked.resize(horizon.samples);
    horizons_.push_back(std::move(horizon));
  }
  for (auto* each : {&season_, &profile_, &indices_}) each->resize(options_.season);
}

std::vector<std::string_view> SeriesForecaster::methods() { return {kNames.begin(), kNames.end()}; }

SeriesForecaster::Values SeriesForecaster::values_at(const Horizon& horizon) const {
  const uint32_t ahead = horizon.samples;
  const size_t known = static_cast<size_t>(std::min<uint64_t>(count_, recent_.size()));
  double recent = 0;
  for (size_t i = 0; i < known; ++i) recent += recent_[i];
  const double correlation = variance_ > 0 ? std::clamp(covariance_ / variance_, 0.0, 0.999) : 0.0;
  double regressed = last_, median = last_;
  if (options_.has_lags) {
    const LagInputs inputs = window_.inputs();
    regressed = window_.centre() + window_.scale() * horizon.lags.mean(inputs);
    median = window_.centre() + window_.scale() * horizon.lags.median(inputs);
  }
  double season = last_, season_mean = last_, holt_winters = last_;
  if (options_.season > 0 && count_ >= options_.season) {
    const size_t then = phase(count_ + ahead - 1);
    season = season_[then];
    season_mean = profile_[then];
    holt_winters = season_level_ + indices_[then];
  }
  return {last_,
          smooth_[0],
          smooth_[1],
          level_ + trend_ * ahead,
          recent / static_cast<double>(known),
          sum_ / static_cast<double>(count_),
          mean_ + std::pow(correlation, ahead) * (last_ - mean_),
          regressed,
          median,
          season,
          season_mean,
          holt_winters};
}

SeriesForecaster::Said SeriesForecaster::say(const Horizon& horizon) const {
  Said said;
  said.values = values_at(horizon);
  said.chosen = said.values[horizon.best];
  said.low = said.chosen + horizon.low * horizon.scale;
  said.high = said.chosen + horizon.high * horizon.scale;
  return said;
}

void SeriesForecaster::score(Horizon& horizon, const Said& said, double value) const {
  const double memory = options_.score_memory;
  for (size_t m = 0; m < kMethods; ++m)
    horizon.error[m] = memory * horizon.error[m] + std::abs(value - said.values[m]);
  horizon.weight = memory * horizon.weight + 1;
  const auto best = std::min_element(horizon.error.begin(), horizon.error.end());
  if (*best < kMargin * horizon.error[horizon.best])
    horizon.best = static_cast<size_t>(best - horizon.error.begin());
  const double tail = (1 - options_.coverage) / 2;
  horizon.low += options_.step * ((value < said.low ? -1 : 0) + tail);
  horizon.high += options_.step * ((value > said.high ? 1 : 0) - tail);
  if (horizon.low > horizon.high) std::swap(horizon.low, horizon.high);
  const double size = std::abs(value - said.chosen);
  const double share = std::max(0.02, 1 / horizon.weight);
  horizon.scale += share * (size - horizon.scale);
}

void SeriesForecaster::learn(double value, bool is_usual) {
  if (count_ == 0) {
    smooth_ = {value, value};
    level_ = mean_ = value;
  } else {
    smooth_[0] += kQuick * (value - smooth_[0]);
    smooth_[1] += kSlow * (value - smooth_[1]);
    const double level = kLevel * value + (1 - kLevel) * (level_ + trend_);
    trend_ += kTrend * (level - level_ - trend_);
    level_ = level;
    const double share = std::max(kMoments, 1 / static_cast<double>(count_ + 1));
    covariance_ += share * ((value - mean_) * (last_ - mean_) - covariance_);
    variance_ += share * ((value - mean_) * (value - mean_) - variance_);
    mean_ += share * (value - mean_);
  }
  recent_[count_ % recent_.size()] = value;
  // The first season has nothing that could stand for it.
  if (options_.season > 0 && (is_usual || count_ < options_.season)) learn_season(value);
  if (options_.has_lags) window_.observe(value);
  sum_ += value;
  last_ = value;
  ++count_;
}

void SeriesForecaster::learn_season(double value) {
  const size_t now = phase(count_);
  if (count_ < options_.season) {
    season_level_ += (value - season_level_) / static_cast<double>(count_ + 1);
    season_[now] = profile_[now] = value;
    // Off the level of the whole first season, which is known at its end.
    if (count_ + 1 == options_.season)
      for (size_t i = 0; i < season_.size(); ++i) indices_[i] = season_[i] - season_level_;
    return;
  }
  season_[now] = value;
  profile_[now] += kSeasonMean * (value - profile_[now]);
  season_level_ += kSeasonLevel * (value - indices_[now] - season_level_);
  indices_[now] += kSeasonIndex * (value - season_level_ - indices_[now]);
}

void SeriesForecaster::observe(double value, bool is_usual) {
  for (Horizon& horizon : horizons_) {
    if (count_ < horizon.samples) continue;
    const size_t at = count_ % horizon.samples;
    score(horizon, horizon.said[at], value);
    if (!options_.has_lags) continue;
    const Looked& looked = horizon.looked[at];
    if (looked.scale > 0) horizon.lags.learn(looked.inputs, (value - looked.centre) / looked.scale);
  }
  learn(value, is_usual);
  // What is said now is of sample count - 1 + samples, and lies where that one will look for it.
  for (Horizon& horizon : horizons_) {
    const size_t at = (count_ - 1) % horizon.samples;
    horizon.said[at] = say(horizon);
    if (options_.has_lags)
      horizon.looked[at] = {window_.inputs(), window_.centre(), window_.scale()};
  }
}

std::optional<SeriesForecast> SeriesForecaster::forecast(size_t index) const {
  if (count_ == 0 || index >= horizons_.size()) return std::nullopt;
  const Said said = say(horizons_[index]);
  return SeriesForecast{said.chosen, said.low, said.high, kNames[horizons_[index].best]};
}

std::vector<double> SeriesForecaster::errors(size_t index) const {
  std::vector<double> errors;
  const Horizon& horizon = horizons_[index];
  for (const double sum : horizon.error)
    errors.push_back(horizon.weight > 0 ? sum / horizon.weight : 0);
  return errors;
}

}  // namespace forerun::forecast
