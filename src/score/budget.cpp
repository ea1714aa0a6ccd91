#include "score/budget.h"

#include <algorithm>
#include <cmath>

namespace forerun::score {

Budget::Budget(Options options)
    : options_(options),
      allowance_(std::min(options.initial_bytes, options.max_bytes)),
      interval_(options.probe_interval) {}

uint64_t Budget::available_bytes() const {
  return allowance_ > undecided_ ? allowance_ - undecided_ : 0;
}

bool Budget::take(uint64_t bytes) {
  if (bytes > available_bytes()) return false;
  undecided_ += bytes;
  return true;
}

uint64_t Budget::settle(uint64_t bytes) {
  const uint64_t settled = std::min(bytes, undecided_);
  undecided_ -= settled;
  return settled;
}

void Budget::on_used(uint64_t bytes) {
  const uint64_t settled = settle(bytes);
  if (settled == 0) return;
  const double gained = options_.growth * static_cast<double>(settled);
  const double grown = static_cast<double>(allowance_) + gained;
  allowance_ = grown >= static_cast<double>(options_.max_bytes) ? options_.max_bytes
                                                                : static_cast<uint64_t>(grown);
  const double keep =
      std::exp2(-static_cast<double>(settled) / static_cast<double>(options_.memory_bytes));
  used_ = used_ * keep + static_cast<double>(settled);
  wasted_ *= keep;
  interval_ = options_.probe_interval;  // it earns again: the next dry spell starts patient anew
}

void Budget::on_wasted(uint64_t bytes) {
  const uint64_t settled = settle(bytes);
  if (settled == 0) return;
  // At the break-even share u: growth·u = loss·(1 − u).
  const double u = std::clamp(options_.usefulness_min, 0.0, 0.99);
  const double lost = options_.growth * u / (1 - u) * static_cast<double>(settled);
  allowance_ = lost >= static_cast<double>(allowance_)
                   ? 0
                   : allowance_ - static_cast<uint64_t>(std::ceil(lost));
  const double keep =
      std::exp2(-static_cast<double>(settled) / static_cast<double>(options_.memory_bytes));
  wasted_ = wasted_ * keep + static_cast<double>(settled);
  used_ *= keep;
}

void Budget::on_cancelled(uint64_t bytes) { settle(bytes); }

bool Budget::spent() const { return undecided_ == 0 && allowance_ < options_.probe_bytes; }

void Budget::tick(Time now) {
  if (!spent()) {
    waiting_ = false;
    return;
  }
  if (!waiting_) {
    waiting_ = true;
    probe_at_ = now + interval_;
    return;
  }
  if (now < probe_at_) return;
  allowance_ = std::min(options_.probe_bytes, options_.max_bytes);
  waiting_ = false;
  interval_ = std::min(interval_ * 2, options_.probe_interval_max);
}

double Budget::usefulness() const {
  const double decided = used_ + wasted_;
  return decided > 0 ? used_ / decided : 1.0;
}

}  // namespace forerun::score
