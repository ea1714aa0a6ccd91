// Detects that a stream of outcomes has changed its ways: what a predictor promised and what
// happened part, to either side, by more than chance.
//
// SOURCE: the Page-Hinkley test: Page, "Continuous inspection schemes", Biometrika 41 (1954);
// Hinkley, "Inference about the change-point from cumulative sum tests", Biometrika 58 (1971).
// Changed: it runs on errors (outcome minus promise), not on outcomes, so that a predictor that
// only says more doubtful things than before has not changed; and an outcome may be revised.
#pragma once

#include <cstdint>

namespace forerun::score {

// One predictor's stream. One thread. State: O(1).
class PhaseChange {
 public:
  struct Options {
    double slack = 0.1;           // the mean error may move by so much unnoticed (Page's delta)
    double threshold = 20;        // excess over that, added up, at which there is an alarm (lambda)
    double memory = 512;          // outcomes of the running mean; older ones weigh less than half
    double evidence_min = 16;     // outcomes since the last alarm before there is another
    uint32_t outcomes_kept = 16;  // what a calibration and a gate keep of the phase that is over
  };
  explicit PhaseChange(Options options);

  // Learns one outcome of what was promised with `probability`, as `weight` of one (in (0, 1]).
  // Returns whether this is the alarm: the stream has changed, and is watched afresh from here.
  bool add(float probability, bool happened, double weight = 1);
  // Turns an outcome learned as "did not happen" into one that did. Returns as add().
  bool revise(double weight = 1);
  // Returns the alarms so far.
  uint64_t changes() const { return changes_; }

 private:
  bool judge();

  Options options_;
  double lost_;                      // of the mean with each outcome
  double errors_ = 0, weights_ = 0;  // for the running mean
  double fallen_ = 0, risen_ = 0;    // excess to either side, added up; never below 0
  double learned_ = 0;               // outcomes since the last alarm
  uint64_t changes_ = 0;
};

}  // namespace forerun::score
