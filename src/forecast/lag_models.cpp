#include "forecast/lag_models.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace forerun::forecast {
namespace {

constexpr size_t kLags = 12;
constexpr double kForgetting = 0.9995;  // of the squares, per outcome
constexpr double kTrust = 0.05;         // of weights that begin as the last value's
constexpr double kMoments = 0.002;      // how fast the mean and the scale of all follow
constexpr double kStep = 0.2, kStepLeast = 0.006;
constexpr double kTiny = 1e-9;
constexpr double kInputMax = 20;  // a spike does not undo what was learned

}  // namespace

void LagWindow::observe(double value) {
  ring_[count_ % kValues] = value;
  ++count_;
  const double share = std::max(kMoments, 1 / static_cast<double>(count_));
  mean_ += share * (value - mean_);
  size_ += share * (std::abs(value - mean_) - size_);
}

double LagWindow::scale() const { return size_ > kTiny * std::abs(mean_) ? size_ : 0; }

LagInputs LagWindow::inputs() const {
  LagInputs inputs{};
  if (count_ == 0) return inputs;
  const size_t known = static_cast<size_t>(std::min<uint64_t>(count_, kValues));
  const auto scaled = [&](double at) {
    return scale() > 0 ? std::clamp((at - mean_) / scale(), -kInputMax, kInputMax) : 0.0;
  };
  double sum = 0, hour = 0;
  for (size_t lag = 0; lag < known; ++lag) {
    sum += value(lag);
    if (lag + 1 == std::min(known, kLags)) hour = sum / static_cast<double>(lag + 1);
  }
  inputs[0] = 1;
  for (size_t lag = 0; lag < kLags; ++lag)
    inputs[1 + lag] = scaled(value(std::min(lag, known - 1)));
  inputs[1 + kLags] = scaled(hour);
  inputs[2 + kLags] = scaled(sum / static_cast<double>(known));
  return inputs;
}

LagForecast::LagForecast()
    : squares_(kLagInputs, {.forgetting = kForgetting, .first_trust = kTrust}) {
  median_[1] = 1;  // the last value
}

double LagForecast::median(const LagInputs& inputs) const {
  return std::inner_product(inputs.begin(), inputs.end(), median_.begin(), 0.0);
}

void LagForecast::learn(const LagInputs& inputs, double outcome) {
  outcome = std::clamp(outcome, -kInputMax, kInputMax);
  squares_.learn(inputs, outcome);
  ++learned_;
  const double error = outcome - median(inputs);
  const double size = std::inner_product(inputs.begin(), inputs.end(), inputs.begin(), 0.0);
  const double rate = std::max(kStepLeast, kStep / std::sqrt(static_cast<double>(learned_)));
  const double step = rate * (error > 0 ? 1 : error < 0 ? -1 : 0) / (1 + std::sqrt(size));
  for (size_t i = 0; i < kLagInputs; ++i) median_[i] += step * inputs[i];
}

}  // namespace forerun::forecast
