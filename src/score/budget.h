// A byte budget earned by usefulness: how much may be prefetched for one VM without its use being
// known yet. What is used lets it grow, what is wasted lets it shrink, down to nothing; then a
// small probe is allowed once in a while, ever more rarely, so that a guest that changed its ways
// can earn its budget back.
#pragma once

#include <cstdint>

#include "core/bytes.h"
#include "core/time.h"

namespace forerun::score {

// One VM's (or one model's) budget. One thread. Deterministic: time is passed in.
class Budget {
 public:
  struct Options {
    uint64_t initial_bytes =
        64 * kMiB;  // before anything is known: a whole boot set, learned from earlier boots, fits
    uint64_t max_bytes = 128 * kMiB;
    double growth = 0.5;  // allowance gained per used byte
    double usefulness_min =
        0.5;  // share of used bytes at which the allowance neither grows nor shrinks
    uint64_t probe_bytes = 256 * kKiB;                    // what a spent budget gets, to try again
    Nanos probe_interval = std::chrono::seconds(10);      // doubles with each wasted probe …
    Nanos probe_interval_max = std::chrono::minutes(10);  // … up to this
    uint64_t memory_bytes =
        32 * kMiB;  // usefulness() forgets: decided bytes older than this weigh less than half
  };
  explicit Budget(Options options);

  // Returns the bytes that may be taken now.
  uint64_t available_bytes() const;
  // Returns the bytes whose use may be unknown at a time: what was earned.
  uint64_t allowance_bytes() const { return allowance_; }
  // Returns the bytes taken whose use is not known yet.
  uint64_t undecided_bytes() const { return undecided_; }
  // Takes `bytes` for a fetch about to be issued. Returns false, and takes nothing, if fewer are
  // available.
  bool take(uint64_t bytes);
  // What became of taken bytes; each taken byte meets exactly one of the three. More than was taken
  // counts as what was.
  void on_used(uint64_t bytes);
  void on_wasted(uint64_t bytes);
  void on_cancelled(uint64_t bytes);  // never fetched: given back, no judgement
  // Lets a spent budget probe again when its time has come. Called now and then, and before take()
  // in an idle system.
  void tick(Time now);

  // Returns the share of decided bytes that were used, recent ones weighing more; 1 before anything
  // is decided.
  double usefulness() const;

 private:
  uint64_t settle(uint64_t bytes);
  bool spent() const;

  Options options_;
  uint64_t allowance_;  // limit of undecided bytes; in [0, max_bytes]
  uint64_t undecided_ = 0;
  double used_ = 0;  // with forgetting
  double wasted_ = 0;
  bool waiting_ = false;  // spent, and the next probe is at probe_at_
  Time probe_at_{};
  Nanos interval_;
};

}  // namespace forerun::score
