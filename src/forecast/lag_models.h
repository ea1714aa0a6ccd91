// Forecasts of a series from its own last values: linear in them, the weights learned online from
// every outcome.
//
// SOURCE: autoregression by recursive least squares (least_squares.h). The median: quantile
// regression (Koenker & Bassett, Econometrica 46(1), 1978) by subgradient steps, normalised as in
// Nagumo & Noda, "A learning method for system identification", 1967 (NLMS).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "forecast/least_squares.h"

namespace forerun::forecast {

inline constexpr size_t kLagInputs = 15;
using LagInputs = std::array<double, kLagInputs>;

// What such a forecast looks at. One thread. State: a ring of 24 values.
class LagWindow {
 public:
  void observe(double value);
  // Returns 1, the last twelve values, and the means of the last 12 and 24; each less the mean of
  // all, in scales of it. Before there are twelve, the oldest stands for them.
  LagInputs inputs() const;
  double centre() const { return mean_; }
  // The mean distance from the mean of all; 0 while the series stands still.
  double scale() const;

 private:
  static constexpr size_t kValues = 24;
  double value(size_t lag) const { return ring_[(count_ - 1 - lag) % kValues]; }
  std::array<double, kValues> ring_{};
  uint64_t count_ = 0;
  double mean_ = 0, size_ = 0;  // size: the mean distance from the mean
};

// For one horizon: says from the inputs of now, learns from those that the outcome belongs to. One
// thread. State: about 2.5 KB.
class LagForecast {
 public:
  LagForecast();
  // What the mean, and the median, are expected to be; in the units of the inputs.
  double mean(const LagInputs& inputs) const { return squares_.predict(inputs); }
  double median(const LagInputs& inputs) const;
  void learn(const LagInputs& inputs, double outcome);

 private:
  LeastSquares squares_;
  std::array<double, kLagInputs> median_{};
  uint64_t learned_ = 0;
};

}  // namespace forerun::forecast
