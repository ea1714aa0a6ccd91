// How long a guest waited for fetches: the time during which at least one of its reads was
// outstanding on the link, in all and in bins since the VM's start, and the waits themselves.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "core/time.h"

namespace forerun::daemon {

// Thread-safe.
class StallMeter {
 public:
  static constexpr Nanos kBin = 100ms;
  static constexpr size_t kBinsMax =
      10 * 60 * 30;                          // half an hour; later stalls count in all, not in bins
  static constexpr size_t kWaitsMax = 8192;  // of which percentiles are taken; a ring

  explicit StallMeter(Time start) : start_(start) {}

  void on_wait_begin(Time now);
  void on_wait_end(Time now, Nanos waited);

  struct Reading {
    double stall_seconds = 0;
    bool is_stalled = false;
    uint64_t waits = 0;
    double p50_seconds = 0, p99_seconds = 0;
    std::vector<uint16_t> bin_ms;  // stalled milliseconds in each bin
  };
  Reading read(Time now) const;

 private:
  void add(Time begin, Time end);

  mutable std::mutex mutex_;  // guards all below
  Time start_;
  uint32_t waiting_ = 0;
  Time stalled_since_{};
  Nanos stalled_{0};
  std::vector<uint32_t> bins_us_;
  std::vector<float> waits_seconds_;
  uint64_t wait_count_ = 0;
};

}  // namespace forerun::daemon
