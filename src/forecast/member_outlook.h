// What a VM will ask for soon, from its own past: expected demand, how far off that may be, and how
// much it swings meanwhile. Sums of independent VMs add each of the three.
//
// SOURCE: means and second moments by boosted_trees with the least-squares loss, the second moments
// of what the first leaves (two-stage estimation of a conditional variance: Fan & Yao, Biometrika
// 85(3), 1998). "What followed" is a kernel regression on the VM's own past (Nadaraya 1964, Watson
// 1964).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "forecast/boosted_trees.h"

namespace forerun::forecast {

// A VM's demand, of its own capacity, a value per sample, the newest last; 0 to 1.
using MemberPast = std::span<const float>;

inline constexpr size_t kMemberPast_max = 288;  // what is older does not count

// A VM's past in figures. Windows end now; those longer than the past are all of it. Quantiles are
// to a hundredth.
struct MemberFigures {
  std::array<float, 12> lags;             // the newest first
  std::array<float, 7> means;             // of the last 3, 6, 12, 24, 48, 96, 288
  std::array<float, 5> sds;               // of the last 6, 12, 24, 48, 288
  std::array<float, 4> maxima;            // of the last 6, 12, 24, 288
  std::array<float, 4> minima;            // as maxima
  std::array<float, 6> quantiles_all;     // .1, .25, .5, .75, .9, .97
  std::array<float, 2> quantiles_hour;    // of the last 12: .5, .85
  std::array<float, 2> quantiles_recent;  // of the last 24: .5, .85
  std::array<float, 3> smoothed;          // exponentially, by .1, .2, .4
  float correlation = 0;                  // of neighbours
  float step_all = 0, step_hour = 0;      // mean distance of neighbours
  float phase_all = 0, phase_hour = 0;    // the same half hour of all hours before, of the last
  float followed = 0, followed_sd = 0;    // half an hour's mean, after values like now's
  float followed_weight = 0;              // how many such there were
  float followed_mean = 0;                // as `followed`, after three values like the last three
  float level_age = 0;                    // samples since it last jumped by .05
  float samples = 0;
  float idle = 0;  // samples of the last 24

  friend bool operator==(const MemberFigures&, const MemberFigures&) = default;
};
inline constexpr size_t kMemberColumns = 57;
static_assert(sizeof(MemberFigures) == kMemberColumns * sizeof(float));

// REQUIRES: at least 12 samples.
MemberFigures member_figures(MemberPast past);

// Over the next few samples: of their mean what is expected and its variance, and the variance of
// the samples about their mean.
struct MemberOutlook {
  float mean = 0, variance = 0, spread = 0;
  // Adds an independent VM whose capacity is `share` of the host's.
  void add(const MemberOutlook& other, float share);
};

// Learns from pasts whose next samples are known; then says. One thread while it learns, immutable
// after.
class MemberForecaster {
 public:
  // `rows_max`: to learn from, 236 bytes each; the oldest go.
  explicit MemberForecaster(size_t rows_max) : rows_max_(rows_max) {}
  // Keeps what was, and the samples that followed. REQUIRES: `next` is not empty.
  void observe(const MemberFigures& figures, std::span<const float> next);
  // Learns from what was observed. Returns false, and changes nothing, if that is too little.
  bool train();
  bool is_trained() const { return spread_.has_value(); }
  // REQUIRES: is_trained().
  MemberOutlook outlook(const MemberFigures& figures) const;

 private:
  size_t rows_max_;
  std::vector<float> rows_, means_, spreads_;
  size_t next_ = 0;  // to be overwritten, once there are rows_max_
  std::optional<BoostedTrees> mean_, variance_, spread_;
};

}  // namespace forerun::forecast
