// Time as a value. Nothing outside os/ reads a clock: a Clock is passed in, so that sim/ can run
// the same code in virtual time.
#pragma once

#include <chrono>
#include <cstdint>

namespace forerun {

using Nanos = std::chrono::nanoseconds;
using namespace std::chrono_literals;  // NOLINT: 5ms, 2s read better everywhere

// Monotonic since an arbitrary start (process start, or the start of a simulation).
struct MonotonicTimeline {
  using rep = Nanos::rep;
  using period = Nanos::period;
  using duration = Nanos;
  using time_point = std::chrono::time_point<MonotonicTimeline, Nanos>;
  static constexpr bool is_steady = true;
};
using Time = MonotonicTimeline::time_point;

inline constexpr Time kTimeZero{};
inline constexpr Time kTimeNever = Time::max();

inline double to_seconds(Nanos span) { return std::chrono::duration<double>(span).count(); }
inline Nanos from_seconds(double seconds) {
  return std::chrono::duration_cast<Nanos>(std::chrono::duration<double>(seconds));
}

// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual Time now() const = 0;
};

// A clock that stands still until told otherwise. One thread.
class ManualClock final : public Clock {
 public:
  Time now() const override { return now_; }
  void advance(Nanos span) { now_ += span; }
  void set(Time time) { now_ = time; }

 private:
  Time now_ = kTimeZero;
};

}  // namespace forerun
