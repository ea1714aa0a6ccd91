// What the arbiter thinks of one model: what its word is worth, how well that held, whether it is
// heard, and whether the guest's ways have changed under it.
#pragma once

#include <cstdint>
#include <optional>

#include "core/time.h"
#include "predict/arbiter.h"
#include "score/calibration.h"
#include "score/gate.h"
#include "score/phase_change.h"

namespace forerun::predict {

// One thread.
struct Judge {
  // What became of a word about one block.
  struct Outcome {
    uint16_t context = 0;
    float said = 0, probability = 0;  // by the model, calibrated
    uint32_t run = 1;                 // blocks that were said with it
    bool happened = false;
    bool was_doubted = false;    // and it was learned as a failure then
    bool would_propose = false;  // only that speaks for or against a model
  };

  Judge(const score::Calibration::Options& with,
        const std::optional<score::PhaseChange::Options>& watched)
      : calibration(with) {
    if (!watched) return;
    phase.emplace(*watched);
    outcomes_kept = watched->outcomes_kept;
  }

  void learn(const Outcome& outcome, Time now) {
    const bool is_revised = outcome.happened && outcome.was_doubted;
    if (is_revised) {
      calibration.revise(outcome.context, outcome.said);
      reliability.revise(outcome.probability);
    } else {
      calibration.learn(outcome.context, outcome.said, outcome.happened);
      reliability.add(outcome.probability, outcome.happened);
    }
    if (phase) watch(outcome, is_revised, now);
    if (!outcome.would_propose) return;
    const bool was_muted = gate.muted();
    if (is_revised)
      gate.revise();
    else
      gate.learn(outcome.happened);
    if (gate.muted() == was_muted) return;
    muted_changed_at = now;
    if (!was_muted) ++times_muted;
  }

  // What was said as one run comes true or not as one, so each of its blocks is a part of a word.
  void watch(const Outcome& outcome, bool is_revised, Time now) {
    const double weight = 1.0 / outcome.run;
    if (!(is_revised ? phase->revise(weight)
                     : phase->add(outcome.probability, outcome.happened, weight)))
      return;
    phase_changed_at = now;
    calibration.forget(outcomes_kept);
    gate.forget(outcomes_kept);
  }

  score::Calibration calibration;
  score::Reliability reliability;
  score::Gate gate{
      {.share_min = 0.3, .share_back = 0.4}};  // what it proposes; a wish is granted from 0.55
  std::optional<score::PhaseChange> phase;
  uint32_t outcomes_kept = 0;
  Time phase_changed_at{}, muted_changed_at{};
  uint32_t times_muted = 0;
};

// Returns the report of what was said with these probabilities.
ModelReport report_of(std::string name, const score::Reliability& reliability);
// … and of a model: all that an arbiter tells of it.
ModelReport report_of(const Model& model, const Judge& judge);

}  // namespace forerun::predict
