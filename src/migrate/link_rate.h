// What a link carries, told from how fast what is put out for it is taken.
#pragma once

#include "core/time.h"

namespace forerun::migrate {

// One thread. Rates are bytes a second.
class LinkRate {
 public:
  void on_output(Time now, uint64_t bytes) {
    if (began_ == Time{}) began_ = now;
    const Nanos span = now - began_;
    if (span >= kRateWindow) {
      const double seen = static_cast<double>(bytes_) / to_seconds(span);
      rate_ = seen > rate_ ? seen : rate_ + kRateForget * (seen - rate_);
      began_ = now;
      bytes_ = 0;
    }
    bytes_ += bytes;
  }
  void set(double rate) { told_ = rate; }
  double get() const { return told_ > 0 ? told_ : rate_ > 0 ? rate_ : kRateUnknown; }

 private:
  static constexpr Nanos kRateWindow = 50ms;
  static constexpr double kRateForget = 0.1;
  static constexpr double kRateUnknown = 125e6;  // where nothing is known yet: 1 Gbit/s

  double told_ = 0, rate_ = 0;
  uint64_t bytes_ = 0;
  Time began_{};
};

}  // namespace forerun::migrate
