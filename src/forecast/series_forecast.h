// Forecasts of one series of samples: a pool of simple methods, each scored on every outcome, per
// horizon; the best so far speaks. Its interval follows the residuals, so that it covers what it
// says it covers, whatever the series. The pool: the last value, exponentially weighted means,
// Holt's trend, means, autoregressions, the median by its last values, and of a season the value
// then, its profile, and Holt-Winters'.
//
// SOURCE: intervals by tracking the quantiles of the residuals: Gibbs & Candès, "Adaptive conformal
// inference under distribution shift", NeurIPS 2021; Angelopoulos, Candès & Tibshirani, "Conformal
// PID control for time series prediction", NeurIPS 2023. Holt's linear trend: Hyndman &
// Athanasopoulos, "Forecasting: principles and practice", ch. 8; Holt-Winters', additive, without
// trend: there. Autoregression and median: lag_models.h.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "forecast/lag_models.h"

namespace forerun::forecast {

struct SeriesForecast {
  double value = 0;
  double low = 0, high = 0;  // what lies between is expected with `coverage`
  std::string_view method;
};

// One thread. State, per horizon: 2.5 KB and, per sample of it, 270 bytes, without `lags` 120; and
// three numbers per sample of the season. A sample costs about 0.5 µs per horizon with `lags`.
class SeriesForecaster {
 public:
  struct Options {
    std::vector<uint32_t> horizons = {1, 3, 6, 12};  // in samples, each at least 1
    uint32_t season = 0;                             // samples of a period; 0: there is none
    bool has_lags = true;  // whether the methods of lag_models are in the pool
    double coverage = 0.9;
    double score_memory = 0.995;  // of errors, per sample
    double step = 0.02;           // how fast intervals follow
  };
  explicit SeriesForecaster(Options options);

  // `is_usual`: false for what a known event brought about: it is left out of what is learned of
  // the season.
  void observe(double value, bool is_usual = true);
  // Returns the forecast of `horizons[index]` samples ahead; nothing before the first sample.
  std::optional<SeriesForecast> forecast(size_t index) const;
  // Returns the mean absolute error of each method at a horizon so far, as methods() names them.
  std::vector<double> errors(size_t index) const;
  static std::vector<std::string_view> methods();

 private:
  static constexpr size_t kMethods = 12;
  using Values = std::array<double, kMethods>;
  struct Said {
    Values values{};
    double chosen = 0, low = 0, high = 0;
  };
  // What the lag models looked at, to learn from its outcome.
  struct Looked {
    LagInputs inputs{};
    double centre = 0, scale = 1;
  };
  struct Horizon {
    uint32_t samples = 1;
    std::vector<Said> said;      // a ring: what was said for each sample to come
    std::vector<Looked> looked;  // as `said`
    LagForecast lags;
    Values error{};  // discounted sums
    double weight = 0;
    double scale = 0;           // of the residuals, discounted mean of their size
    double low = -2, high = 2;  // quantiles of the residuals, in scales
    size_t best = 0;
  };
  Values values_at(const Horizon& horizon) const;
  size_t phase(uint64_t sample) const { return sample % options_.season; }
  void learn_season(double value);
  Said say(const Horizon& horizon) const;
  void score(Horizon& horizon, const Said& said, double value) const;
  void learn(double value, bool is_usual);

  Options options_;
  std::vector<Horizon> horizons_;
  uint64_t count_ = 0;
  double last_ = 0;
  std::array<double, 2> smooth_{};  // exponentially weighted: quick, slow
  double level_ = 0, trend_ = 0;    // Holt's
  double sum_ = 0;
  double mean_ = 0, variance_ = 0, covariance_ = 0;  // of neighbours, for an AR(1)
  std::array<double, 12> recent_{};
  std::vector<double> season_, profile_, indices_;  // by phase: the last, its mean, off the level
  double season_level_ = 0;
  LagWindow window_;
};

}  // namespace forerun::forecast
