// Mixes several probabilities of one event into one, with weights that follow the outcomes.
//
// SOURCE: Mattern, "Mixing strategies in data compression", DCC 2012 (the logistic mixing of PAQ):
// p = σ(Σ wᵢ·logit pᵢ + b), each weight moved by rate·(outcome − p)·logit pᵢ, the gradient of the
// coding cost. A piece that says nothing new loses its weight; b calibrates the whole.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace forerun::forecast {

// Returns log(p / (1 − p)), held within ±12.
float logit(float probability);

// One set of weights per context. One thread.
class LogisticMix {
 public:
  struct Options {
    double rate = 0.0005;
    double weight_max = 4;  // either sign
  };
  // Weights start equal with the sum 1, b at 0.
  LogisticMix(size_t contexts, size_t inputs, Options options);

  // `logits`: one per input. REQUIRES: context < contexts.
  float mix(size_t context, std::span<const float> logits) const;
  void learn(size_t context, std::span<const float> logits, float mixed, bool happened);
  // Returns the weights of a context; the last is b.
  std::span<const double> weights(size_t context) const;

 private:
  Options options_;
  size_t inputs_;
  std::vector<double> weights_;
};

}  // namespace forerun::forecast
