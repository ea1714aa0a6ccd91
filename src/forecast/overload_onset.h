// The probability that a host which is not overloaded now soon will be, seen in two ways: from the
// past of the very VMs that are on it by what became of other hosts in the same state; and as the
// sum of what each VM is expected to ask for (member_outlook).
//
// SOURCE: the question and its measure (onset of at least `over_min` overloaded samples among the
// next `ahead`, average precision) follow docs/simulate.md; the first learner is boosted_trees.
// Both are joined by the mean of their log odds (logarithmic opinion pool: Genest & Zidek,
// Statistical Science 1(1), 1986).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "forecast/boosted_trees.h"
#include "forecast/member_outlook.h"

namespace forerun::forecast {

struct OnsetOptions {
  double limit = 0.8;       // of capacity: overloaded
  uint32_t ahead = 6;       // samples that count as soon
  uint32_t over_min = 2;    // of them, to be overloaded in
  uint32_t past_min = 24;   // below, nothing is said
  uint32_t past_max = 288;  // what is older does not count
};

// A VM on the host, and its capacity as a share of the host's.
struct OnsetMember {
  const MemberFigures* figures = nullptr;
  float share = 0;
};

inline constexpr size_t kOnsetColumns = 67;
using OnsetRow = std::array<float, kOnsetColumns>;
// Returns what a host's state looks like to the learner. `load`: demand of all members, of the
// host's capacity, the newest last. Returns nothing if that has fewer than `past_min` samples,
// there is no member, or the host is overloaded.
std::optional<OnsetRow> onset_row(std::span<const float> load, std::span<const OnsetMember> members,
                                  const OnsetOptions& options);
// Returns whether the `ahead` loads that followed are an onset.
bool is_onset(std::span<const float> next, const OnsetOptions& options);

// Returns the probability of an onset if the mean of the next samples is normal and each of them
// wanders normally about it, independent of the others. `expected`: of the host's capacity.
double onset_chance(const MemberOutlook& expected, const OnsetOptions& options);

// Learns from rows whose outcome is known; then says. One thread while it learns, immutable after.
class OnsetForecaster {
 public:
  // `rows_max`: to learn from, 272 bytes each; the oldest go.
  OnsetForecaster(OnsetOptions options, size_t rows_max) : options_(options), rows_max_(rows_max) {}

  const OnsetOptions& options() const { return options_; }
  // Keeps a row for train().
  void observe(const OnsetRow& row, bool happened);
  // Learns from what was observed. Returns false, and changes nothing, if that is too little: there
  // must be some of either outcome.
  bool train(const BoostedTrees::Options& options);
  bool is_trained() const { return trees_.has_value(); }
  // Returns the probability of an onset. `expected`: of the host's capacity, the sum over its
  // members. REQUIRES: is_trained().
  double probability(const OnsetRow& row, const MemberOutlook& expected) const;

 private:
  OnsetOptions options_;
  size_t rows_max_;
  std::vector<float> rows_;
  std::vector<float> happened_;  // 0 or 1
  size_t next_ = 0;              // to be overwritten, once there are rows_max_
  std::optional<BoostedTrees> trees_;
};

}  // namespace forerun::forecast
