// The probability that a host which is not overloaded now soon will be: from the past of the very
// VMs that are on it, by what became of other hosts in the same state.
//
// SOURCE: the question and its measure (onset of at least `over_min` overloaded samples among the
// next `ahead`, average precision) follow docs/simulate.md; the learner is boosted_trees.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "forecast/boosted_trees.h"

namespace forerun::forecast {

struct OnsetOptions {
  double limit = 0.8;       // of capacity: overloaded
  uint32_t ahead = 6;       // samples that count as soon
  uint32_t over_min = 2;    // of them, to be overloaded in
  uint32_t past_min = 24;   // below, nothing is said
  uint32_t past_max = 288;  // what is older does not count
};

// A VM's demand, of its host's capacity, a value per sample, the newest last.
using MemberPast = std::span<const float>;

inline constexpr size_t kOnsetColumns = 67;
using OnsetRow = std::array<float, kOnsetColumns>;
// Returns what a host's state looks like to the learner. `members` have as many samples each, at
// least `past_min`. Returns nothing if they have fewer, there is none, or the host is overloaded.
std::optional<OnsetRow> onset_row(std::span<const MemberPast> members, const OnsetOptions& options);
// Returns whether the `ahead` loads that followed are an onset.
bool is_onset(std::span<const float> next, const OnsetOptions& options);

// Learns from rows whose outcome is known; then says. One thread while it learns, immutable after.
class OnsetForecaster {
 public:
  // `rows_max`: to learn from, 269 bytes each; the oldest go.
  OnsetForecaster(OnsetOptions options, size_t rows_max) : options_(options), rows_max_(rows_max) {}

  const OnsetOptions& options() const { return options_; }
  // Keeps a row for train().
  void observe(const OnsetRow& row, bool happened);
  // Learns from what was observed. Returns false, and changes nothing, if that is too little: there
  // must be some of either outcome.
  bool train(const BoostedTrees::Options& options);
  bool is_trained() const { return trees_.has_value(); }
  // Returns the probability of an onset. REQUIRES: is_trained().
  double probability(const OnsetRow& row) const { return trees_->probability(row); }

 private:
  OnsetOptions options_;
  size_t rows_max_;
  std::vector<float> rows_;
  std::vector<uint8_t> happened_;
  size_t next_ = 0;  // to be overwritten, once there are rows_max_
  std::optional<BoostedTrees> trees_;
};

}  // namespace forerun::forecast
