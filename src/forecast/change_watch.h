// Tells when a series does what was not expected of it: one value (an anomaly), or from now on (a
// change of its level).
//
// SOURCE: Page, "Continuous inspection schemes", Biometrika 41, 1954: two cumulative sums of what
// is off, each less an allowance, an alarm at a threshold. Off is against a slow mean, in mean
// distances from it, each counted up to a limit, so that one spike is no change.
#pragma once

#include <cstdint>

namespace forerun::forecast {

enum class Seen : uint8_t { kNothing, kAnomaly, kRise, kFall };

// One thread. State: 48 bytes.
class ChangeWatch {
 public:
  struct Options {
    double anomaly = 8;     // mean distances from the mean: about 6 standard deviations of noise
    double allowance = 1;   // mean distances that are no change
    double threshold = 12;  // of the cumulative sums
    double memory = 0.99;   // of the mean and the distance, per sample
    uint32_t warm_up = 24;  // samples before anything is said, and again after a change
  };
  explicit ChangeWatch(Options options) : options_(options) {}

  // Returns what the value says. After kRise or kFall the level is learned anew, from this value
  // on.
  Seen observe(double value);
  double level() const { return mean_; }

 private:
  Options options_;
  double mean_ = 0, distance_ = 0;
  double rise_ = 0, fall_ = 0;  // cumulative sums
  uint64_t count_ = 0;          // since the last change
};

}  // namespace forerun::forecast
