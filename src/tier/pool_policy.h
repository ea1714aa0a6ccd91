// How much memory the tier may use: all it was given, until the host needs it. Two watermarks with
// a gap between them, and the stalls of tasks that wait for memory; memory is given back at once
// and taken again slowly, so that it does not flap.
#pragma once

#include <cstdint>

#include "core/time.h"

namespace forerun::tier {

// As the host says it (os/memory_pressure.h).
struct HostMemory {
  uint64_t total_bytes = 0;
  uint64_t available_bytes = 0;
  double stall_ratio = 0;  // of the last 10 s
};

// One thread. Deterministic: time is passed in.
class PoolPolicy {
 public:
  struct Options {
    uint64_t bytes_min = 64ull << 20;  // kept whatever happens; at most bytes_max
    uint64_t bytes_max = 256ull << 20;
    // Of the host's memory: with less available than `low_ratio`, as much is given back as is
    // missing to `high_ratio`; with more than `high_ratio`, memory may be taken again.
    double low_ratio = 0.05;
    double high_ratio = 0.10;
    // Between the two, this much stalling asks for a step back; less than a tenth of it is calm.
    double stall_ratio = 0.10;
    double step_ratio = 0.125;  // of bytes_max
    // PSI's average looks back 10 s: a step for it is given so long to show.
    Nanos stall_pause = std::chrono::seconds(5);
    Nanos calm = std::chrono::seconds(10);  // before memory is taken again, since it was short
    Nanos growth_interval = std::chrono::seconds(1);  // of steps
  };
  explicit PoolPolicy(Options options);

  // Returns how many bytes the tier may use from now on, of which it uses `used_bytes` now. Called
  // at least once a second.
  uint64_t update(const HostMemory& host, uint64_t used_bytes, Time now);
  uint64_t target_bytes() const { return target_; }

 private:
  void shrink_to(uint64_t bytes);

  Options options_;
  uint64_t target_;
  Time calm_since_ = kTimeZero;
  Time stepped_back_at_ = Time::min();
  Time grew_at_ = Time::min();
};

}  // namespace forerun::tier
