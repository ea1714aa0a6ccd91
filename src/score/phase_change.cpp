#include "score/phase_change.h"

#include <algorithm>
#include <cmath>

namespace forerun::score {

PhaseChange::PhaseChange(Options options)
    : options_(options), lost_(1 - std::exp2(-1.0 / std::max(1.0, options.memory))) {}

bool PhaseChange::add(float probability, bool happened, double weight) {
  const double error = (happened ? 1.0 : 0.0) - static_cast<double>(probability);
  const double mean = errors_ / std::max(weights_, options_.evidence_min);
  const double excess = error - mean;
  fallen_ = std::max(0.0, fallen_ - weight * (excess + options_.slack));
  risen_ = std::max(0.0, risen_ + weight * (excess - options_.slack));
  const double keep = 1 - weight * lost_;
  errors_ = errors_ * keep + weight * error;
  weights_ = weights_ * keep + weight;
  learned_ += weight;
  return judge();
}

bool PhaseChange::revise(double weight) {
  fallen_ = std::max(0.0, fallen_ - weight);
  risen_ += weight;
  errors_ += weight;
  return judge();
}

bool PhaseChange::judge() {
  if (learned_ < options_.evidence_min) return false;
  if (fallen_ < options_.threshold && risen_ < options_.threshold) return false;
  fallen_ = risen_ = errors_ = weights_ = learned_ = 0;
  ++changes_;
  return true;
}

}  // namespace forerun::score
