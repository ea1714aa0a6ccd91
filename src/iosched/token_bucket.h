// A token bucket: at most `burst` at once, `rate` over time. Pure; one thread.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/time.h"

namespace forerun::iosched {

class TokenBucket {
 public:
  struct Options {
    double rate_bytes_per_s = 0;  // 0: no limit
    double burst_bytes = 0;
  };
  explicit TokenBucket(Options options) : options_(options), tokens_(options.burst_bytes) {}

  // Changes the rate from now on; tokens already gathered stay, up to the burst.
  void set_rate(double rate_bytes_per_s, Time now) {
    refill(now);
    options_.rate_bytes_per_s = rate_bytes_per_s;
  }
  // Takes `bytes` if any tokens are left, going into debt for the rest, so that a request larger
  // than the burst passes and those after it wait. Returns false if there are none.
  bool take(uint64_t bytes, Time now) {
    if (options_.rate_bytes_per_s <= 0) return true;
    refill(now);
    if (tokens_ <= 0) return false;
    tokens_ -= static_cast<double>(bytes);
    return true;
  }
  // Returns when take() next succeeds.
  Time ready_at(Time now) {
    if (options_.rate_bytes_per_s <= 0) return now;
    refill(now);
    if (tokens_ > 0) return now;
    return now + from_seconds((1 - tokens_) / options_.rate_bytes_per_s);
  }

 private:
  void refill(Time now) {
    if (now <= filled_at_) return;
    const double gained = to_seconds(now - filled_at_) * options_.rate_bytes_per_s;
    tokens_ = std::min(options_.burst_bytes, tokens_ + gained);
    filled_at_ = now;
  }

  Options options_;
  double tokens_;
  Time filled_at_ = kTimeZero;
};

}  // namespace forerun::iosched
