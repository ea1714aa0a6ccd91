#include "predict/at_work.h"

#include <array>

namespace forerun::predict {

std::span<const std::string_view> work_model_names() {
  static constexpr std::array<std::string_view, 6> kNames = {
      "markov", "association", "rnn", "sequential", "stride", "successor"};
  return kNames;
}

// Chosen on the four traces of docs/replay.md at 5 % of cache.
Arbiter::Options work_options() {
  Arbiter::Options options;
  options.unit = Arbiter::Options::Unit::kRuns;
  options.probability_min = 0.47f;
  options.waste_max = 0.115f;
  options.probability_least = 0.25f;
  options.probability_per_doubling = 0.07f;
  options.horizon_reads = 2048;
  options.calibration = {.prior_weight = 8, .memory = 256};
  options.phase_change.emplace();
  return options;
}

}  // namespace forerun::predict
