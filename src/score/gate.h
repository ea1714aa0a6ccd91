// The gate: mutes a predictor that stays below its worth, watches it while it is silent, and lets
// it speak again once what it would have said is worth hearing.
#pragma once

#include <cstdint>

namespace forerun::score {

// One thread.
class Gate {
 public:
  struct Options {
    double share_min = 0.1;      // muted below this share of come-true outcomes …
    double share_back = 0.15;    // … and back above this one (hysteresis)
    uint64_t evidence_min = 64;  // outcomes before it is judged at all
    double memory = 256;         // older outcomes weigh less than half
  };
  explicit Gate(Options options);

  // Learns one outcome, also of what was said while muted.
  void learn(bool happened);
  // Turns an outcome learned as "did not happen" into one that did.
  void revise();
  // Keeps the share, but only with the weight of so many outcomes: what comes now is another phase.
  void forget(uint32_t outcomes_kept);
  bool muted() const { return muted_; }
  // Returns the share that came true, recent outcomes weighing more; 1 before there are any.
  double share() const;

 private:
  void judge();

  Options options_;
  double keep_;
  double happened_ = 0;
  double failed_ = 0;
  uint64_t learned_ = 0;
  bool muted_ = false;
};

}  // namespace forerun::score
