// How many launches of each manifest the whole fleet will see in the next window.
//
// Inputs, per manifest: the last three ticks; exponentially decayed means of 15 min, 1 h, 6 h and
// 2 days (SOURCE: Brown, "Exponential smoothing", 1956); the profile of the time of day, sharp and
// smoothed over ±30 min; the profile of the minute of the hour (what is started by a timer comes at
// the same minute); the same window an hour, a day and a week ago (seasonal naive; SOURCE: Hyndman,
// Athanasopoulos, "Forecasting: principles and practice", 3.1); how many of the other unit there
// were last. A recursive least squares per manifest weighs them, on square roots, since counts vary
// about as their root (SOURCE: Anscombe 1948); what the root's mean loses is learned as a ratio.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "forecast/launch.h"
#include "forecast/least_squares.h"

namespace forerun::forecast {

enum class LaunchUnit { kBatches, kLaunches };

// One thread. State: a week of ticks per manifest, 8 bytes each, and 2 KiB.
class Volume {
 public:
  Volume(const LaunchShape& shape, LaunchUnit unit);

  // Sets, per manifest, the number expected in the window that begins with `tick`.
  void foresee(int64_t tick, std::span<double> expected);
  void learn(int64_t tick, std::span<const Launched> launched);

  // Returns the decayed mean per tick over about two days.
  double mean(uint32_t manifest) const { return manifests_[manifest].decayed[kDecays - 1]; }

 private:
  static constexpr size_t kDecays = 4;
  static constexpr size_t kInputs = 15;
  using Inputs = std::array<double, kInputs>;
  struct Manifest {
    std::array<double, kDecays> decayed{};
    std::vector<double> day_sum, hour_mean;  // by tick of the day, of the hour
    std::vector<float> past;                 // ring by tick; negative: not observed
    LeastSquares weights;
    double other_last = 0;
    double happened = 1, said = 1;  // decayed, of the past: what the square root loses
  };
  struct Pending {
    int64_t tick;
    std::vector<Inputs> inputs;
  };

  double at(const Manifest& manifest, int64_t tick) const;
  double window_at(const Manifest& manifest, int64_t tick) const;
  double day_at(const Manifest& manifest, int64_t tick) const;
  Inputs inputs_of(const Manifest& manifest, int64_t tick) const;
  static double number_of(double root) { return root > 0 ? root * root : 0; }
  void forget_until(int64_t tick);
  void learn_weights(int64_t tick);
  void learn_profiles(int64_t tick, uint32_t index, double number);

  LaunchShape shape_;
  LaunchUnit unit_;
  uint32_t hour_, day_, week_;  // in ticks
  std::array<double, kDecays> rates_{};
  std::vector<double> day_weight_;
  std::vector<Manifest> manifests_;
  std::deque<Pending> pending_;
  int64_t next_ = 0;  // ticks below are in the rings
  uint64_t observed_ = 0;
  std::vector<double> now_, other_;
};

}  // namespace forerun::forecast
