#include "forecast/logistic_mix.h"

#include <algorithm>
#include <cmath>

#include "core/result.h"

namespace forerun::forecast {
namespace {

constexpr float kLogitMax = 12;

}  // namespace

float logit(float probability) {
  if (!(probability > 0)) return -kLogitMax;
  if (probability >= 1) return kLogitMax;
  return std::clamp(std::log(probability / (1 - probability)), -kLogitMax, kLogitMax);
}

LogisticMix::LogisticMix(size_t contexts, size_t inputs, Options options)
    : options_(options), inputs_(inputs), weights_(contexts * (inputs + 1)) {
  FR_ASSERT(inputs > 0);
  for (size_t c = 0; c < contexts; ++c)
    std::fill_n(weights_.begin() + static_cast<std::ptrdiff_t>(c * (inputs + 1)), inputs,
                1.0 / static_cast<double>(inputs));
}

std::span<const double> LogisticMix::weights(size_t context) const {
  return std::span(weights_).subspan(context * (inputs_ + 1), inputs_ + 1);
}

float LogisticMix::mix(size_t context, std::span<const float> logits) const {
  const auto weights = this->weights(context);
  double sum = weights[inputs_];
  for (size_t i = 0; i < inputs_; ++i) sum += weights[i] * logits[i];
  sum = std::clamp<double>(sum, -kLogitMax, kLogitMax);
  return static_cast<float>(1 / (1 + std::exp(-sum)));
}

void LogisticMix::learn(size_t context, std::span<const float> logits, float mixed, bool happened) {
  double* weights = weights_.data() + context * (inputs_ + 1);
  const double step = options_.rate * ((happened ? 1.0 : 0.0) - mixed);
  for (size_t i = 0; i < inputs_; ++i)
    weights[i] =
        std::clamp(weights[i] + step * logits[i], -options_.weight_max, options_.weight_max);
  weights[inputs_] = std::clamp<double>(weights[inputs_] + step, -kLogitMax, kLogitMax);
}

}  // namespace forerun::forecast
