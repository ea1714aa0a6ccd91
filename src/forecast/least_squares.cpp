#include "forecast/least_squares.h"

#include <numeric>

#include "core/result.h"

namespace forerun::forecast {

LeastSquares::LeastSquares(size_t inputs, Options options)
    : options_(options), weights_(inputs), inverse_(inputs * inputs), gain_(inputs) {
  FR_ASSERT(inputs > 0);
  for (size_t i = 0; i < inputs; ++i) inverse_[i * inputs + i] = options_.first_trust;
}

double LeastSquares::predict(std::span<const double> input) const {
  FR_ASSERT(input.size() == weights_.size());
  return std::inner_product(input.begin(), input.end(), weights_.begin(), 0.0);
}

void LeastSquares::learn(std::span<const double> input, double outcome) {
  const double error = outcome - predict(input);
  const size_t n = weights_.size();
  double scale = options_.forgetting;
  for (size_t i = 0; i < n; ++i) {
    gain_[i] = std::inner_product(input.begin(), input.end(), inverse_.begin() + i * n, 0.0);
    scale += input[i] * gain_[i];
  }
  double trust_sum = 0;
  for (size_t i = 0; i < n; ++i) {
    weights_[i] += gain_[i] / scale * error;
    for (size_t j = 0; j < n; ++j) {
      double& cell = inverse_[i * n + j];
      cell = (cell - gain_[i] * gain_[j] / scale) / options_.forgetting;
    }
    trust_sum += inverse_[i * n + i];
  }
  if (trust_sum > options_.trust_sum_max)
    for (double& cell : inverse_) cell *= options_.trust_sum_max / trust_sum;
}

}  // namespace forerun::forecast
