#include "score/gate.h"

#include <algorithm>
#include <cmath>

namespace forerun::score {

Gate::Gate(Options options)
    : options_(options), keep_(std::exp2(-1.0 / std::max(1.0, options.memory))) {}

void Gate::learn(bool happened) {
  happened_ *= keep_;
  failed_ *= keep_;
  (happened ? happened_ : failed_) += 1;
  ++learned_;
  judge();
}

void Gate::revise() {
  failed_ = std::max(0.0, failed_ - 1);
  happened_ += 1;
  judge();
}

void Gate::forget(uint32_t outcomes_kept) {
  const double total = happened_ + failed_;
  if (total <= outcomes_kept) return;
  happened_ *= outcomes_kept / total;
  failed_ *= outcomes_kept / total;
}

double Gate::share() const {
  const double total = happened_ + failed_;
  return total > 0 ? happened_ / total : 1.0;
}

void Gate::judge() {
  if (learned_ < options_.evidence_min) return;
  muted_ = muted_ ? share() < options_.share_back : share() < options_.share_min;
}

}  // namespace forerun::score
