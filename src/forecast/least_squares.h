// Recursive least squares with forgetting: a linear forecast whose weights follow each outcome.
// SOURCE: Haykin, "Adaptive Filter Theory", chapter on the RLS algorithm. The trace of the inverse
// correlation matrix is bounded, since forgetting lets it grow where an input stays the same.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace forerun::forecast {

// One thread. State: inputs² doubles.
class LeastSquares {
 public:
  struct Options {
    double forgetting = 0.9998;  // per outcome
    double first_trust = 1;      // the initial diagonal of the inverse correlation
    double trust_sum_max = 1e4;
  };
  LeastSquares(size_t inputs, Options options);

  double predict(std::span<const double> input) const;
  void learn(std::span<const double> input, double outcome);

 private:
  Options options_;
  std::vector<double> weights_, inverse_, gain_;
};

}  // namespace forerun::forecast
