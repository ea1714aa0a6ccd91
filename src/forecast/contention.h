// Whether VMs of a host will wait for its CPUs: the probability that the sum of what is asked of it
// exceeds what it has, held against what was then seen: the time that was waited in run queues.
// That probability takes the demand as normal, and the limit as sharp; neither is so. What came of
// what was said corrects it.
//
// SOURCE: J. Platt, "Probabilistic outputs for support vector machines", 1999: a logistic
// regression on the score of another model, here on how many standard deviations the demand is
// above the capacity and on whether there is contention now, fitted to counts by cell (Newton's
// method, a normal prior about "as the normal says"). Where cells have many outcomes of their own,
// these count for more than the curve; B. Zadrozny & C. Elkan, "Transforming classifier scores into
// accurate multiclass probability estimates", 2002: isotonic regression, by pooling adjacent
// violators, here with the curve as a prior of each cell. Reliability and Brier score: G. Brier,
// "Verification of forecasts expressed in terms of probability", 1950.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "forecast/series_forecast.h"

namespace forerun::forecast {

// What shows that somebody waited, of one span of time; nothing: it was not measured.
struct ContentionSigns {
  std::optional<double> vcpu_wait_ratio;  // of the time, each processor of guests ready and waiting
  std::optional<double> cpu_stall_ratio;  // PSI: some task waited for a CPU
};
struct ContentionRule {
  double vcpu_wait_ratio = 0.05;
  double cpu_stall_ratio = 0.2;
};
// Returns the label. Guests' own waiting decides where it was measured, else the host's PSI.
std::optional<bool> contended(const ContentionSigns& signs, const ContentionRule& rule = {});

// Demand above capacity in standard deviations of the demand, in [-kExcessMax, kExcessMax]. The
// limit is not sharp, as demand is not even within a tick: it has a deviation of its own.
inline constexpr double kExcessMax = 8;

// What came of what was said, in cells of it: enough to fit a calibration, and tallies of several
// hosts add up to one of their class.
class ContentionTally {
 public:
  static constexpr size_t kCells = 32;  // of the excess, half a standard deviation each
  struct Cell {
    double count = 0, contended = 0;  // weights
    bool operator==(const Cell&) const = default;
  };

  void add(double excess, bool is_contended_now, bool came);
  void add(const ContentionTally& other);
  void forget(double share);  // of all weights
  double count() const;
  const std::array<Cell, 2 * kCells>& cells() const { return cells_; }
  // The excess that a cell stands for: the middle of its own.
  static double excess_of(size_t cell);
  // Sets one cell. Returns false if it is none, or its figures cannot be.
  bool set(size_t cell, const Cell& to);
  bool operator==(const ContentionTally&) const = default;

 private:
  friend class ContentionCalibration;
  static size_t cell_of(double excess, bool is_contended_now);
  std::array<Cell, 2 * kCells> cells_{};
};

// Immutable. Without a tally it says what the normal says, within 0.01.
class ContentionCalibration {
 public:
  ContentionCalibration() = default;
  explicit ContentionCalibration(const ContentionTally& tally);
  double probability(double excess, bool is_contended_now) const;

 private:
  struct Weights {
    double bias = 0, slope = 1, now = 0;
  };
  static double logit(const Weights& weights, double excess, bool is_contended_now);
  // What is to be made small: the log loss and the prior's.
  static double loss(const Weights& weights, const ContentionTally& tally);
  static Weights step(const Weights& weights, const ContentionTally& tally);
  Weights weights_;
  bool has_cells_ = false;
  std::array<double, 2 * ContentionTally::kCells> cells_{};  // probabilities, rising in each half
};

// Scores of one horizon, each said before its outcome was known.
struct ContentionScore {
  static constexpr size_t kBins = 10;
  uint64_t count = 0, contended = 0;
  double brier = 0;       // of what was said
  double brier_raw = 0;   // of the probability without calibration
  double brier_base = 0;  // of the share of contention so far
  // By tenths of what was said: how often, its sum, and how often there was contention.
  struct Bin {
    uint64_t count = 0, contended = 0;
    double said = 0;
  };
  std::array<Bin, kBins> bins{};
};

struct ContentionOutlook {
  SeriesForecast demand;   // at the end of the horizon, in cores
  double raw = 0;          // that it exceeds the capacity at some moment until then
  double probability = 0;  // that VMs will wait until then, calibrated
  bool is_contended_now = false;
};

// One thread. State: as SeriesForecaster, and 40 bytes per sample of each horizon.
class ContentionForecaster {
 public:
  struct Options {
    std::vector<uint32_t> horizons = {1, 3, 6, 12};  // in ticks, ascending
    uint32_t season = 0;
    double half_life = 4032;  // ticks; of what came of what was said: 14 days of 5 min
  };
  explicit ContentionForecaster(Options options);

  // One tick: what was asked for and what was there, in cores, and the label if there is one.
  void observe(double demand, double capacity, std::optional<bool> is_contended);
  // Returns what is expected of the ticks up to `horizons[index]` from now; nothing before the
  // first.
  std::optional<ContentionOutlook> outlook(size_t index) const;
  const ContentionScore& score(size_t index) const { return horizons_[index].score; }
  const ContentionTally& tally(size_t index) const { return horizons_[index].tally; }

 private:
  struct Said {
    double excess = 0, raw = 0, probability = 0;
    bool is_contended_now = false;
  };
  struct Horizon {
    uint32_t ticks = 1;
    std::deque<Said> said;  // of the last `ticks` ticks, the oldest first
    ContentionTally tally;
    ContentionCalibration calibration;
    uint64_t learned = 0;
    ContentionScore score;
  };
  Said foreseen(size_t index) const;
  void learn(Horizon& horizon, const Said& said, bool came);

  const Options options_;
  SeriesForecaster demand_;
  std::vector<Horizon> horizons_;
  std::deque<std::optional<bool>> labels_;  // of as many ticks as the longest horizon has
  double capacity_ = 0;
  bool is_contended_now_ = false;
};

}  // namespace forerun::forecast
