#include "forecast/change_watch.h"

#include <algorithm>
#include <cmath>

namespace forerun::forecast {
namespace {

constexpr double kOffMax = 4;          // of one value, in the cumulative sums
constexpr double kDistanceMin = 1e-3;  // of the level: a series that stands still may stir

}  // namespace

Seen ChangeWatch::observe(double value) {
  const double least = kDistanceMin * std::abs(mean_) + 1e-12;
  const double off = count_ > 0 ? (value - mean_) / std::max(distance_, least) : 0;
  Seen seen = Seen::kNothing;
  if (count_ >= options_.warm_up) {
    const double counted = std::clamp(off, -kOffMax, kOffMax);
    rise_ = std::max(0.0, rise_ + counted - options_.allowance);
    fall_ = std::max(0.0, fall_ - counted - options_.allowance);
    if (rise_ > options_.threshold || fall_ > options_.threshold) {
      seen = rise_ > fall_ ? Seen::kRise : Seen::kFall;
      rise_ = fall_ = 0;
      count_ = 0;
      mean_ = value;
    } else if (std::abs(off) > options_.anomaly) {
      seen = Seen::kAnomaly;
    }
  }
  ++count_;
  // What is far off teaches no more than what is not.
  const double share = std::max(1 - options_.memory, 1 / static_cast<double>(count_ + 1));
  const double reach =
      count_ <= options_.warm_up ? std::abs(value - mean_) : kOffMax * std::max(distance_, least);
  const double step = count_ == 1 ? value - mean_ : std::clamp(value - mean_, -reach, reach);
  distance_ += (count_ == 1 ? 0 : share) * (std::abs(step) - distance_);
  mean_ += (count_ == 1 ? 1 : share) * step;
  return seen;
}

}  // namespace forerun::forecast
