// When a VM is due for its next automatic checkpoint: as often as its budget pays for what one
// costs, as the last ones showed; seldom while the guest changes little. Says why.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/time.h"

namespace forerun::daemon {

// One thread. Reads no clock.
class CheckpointPacer {
 public:
  struct Options {
    double budget_ratio = 0.02;  // of time that checkpoints may take: 2 s of work in 100 s
    Nanos interval_min = 10s, interval_max = 3600s;
    Nanos settle = 20s;       // a guest that has just been started is left alone so long
    Nanos foreseen_for = 1h;  // a move that was foreseen is expected so long
  };
  CheckpointPacer(Options options, Time now) : options_(options), begun_at_(now) {}

  void set_budget(double ratio) { options_.budget_ratio = ratio; }
  // One was made, automatic or not.
  void on_made(Nanos took, uint64_t stored_bytes, Time now);
  void on_failed(std::string why, Time now);
  // A move to another host is likely: a checkpoint there spares the link. One may be made ahead of
  // its time for it; the next then waits for as much longer, so the budget holds.
  void foresee(Time now) { foreseen_at_ = now; }
  bool foresees(Time now) const {
    return foreseen_at_ && now - *foreseen_at_ < options_.foreseen_for;
  }

  struct Decision {
    bool is_due = false;
    Nanos next_in{0};  // as things are now
    std::string why;
  };
  // So much of the disk was written since the last one.
  Decision decide(uint64_t written_bytes, Time now) const;
  Nanos interval() const;  // of a guest that changes
  uint64_t made() const { return made_; }

 private:
  Options options_;
  const Time begun_at_;
  uint64_t made_ = 0;
  Time last_at_{};
  Nanos ahead_{0};  // so much too early was the last one
  std::optional<Time> foreseen_at_;
  Nanos cost_{0};  // of one, averaged
  uint64_t stored_bytes_ = 0;
  uint32_t failures_ = 0;  // in a row
  Time failed_at_{};
  std::string failure_;
};

}  // namespace forerun::daemon
