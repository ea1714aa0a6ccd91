// Calibration: what a model's confidence is worth. A model says "0.8" in one of its contexts; the
// calibration answers how often that came true, learned online with forgetting, and trusts the
// model's own word while it has seen little.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "core/time.h"

namespace forerun::score {

inline constexpr size_t kBins = 10;  // of equal width over [0, 1]

// Returns the bin of `probability`.
size_t bin_of(float probability);

// One model's. One thread. State: contexts_max × 10 bins × 16 bytes at most.
// Per (context, bin) a Beta posterior whose prior is the said confidence with the weight
// `prior_weight`.
class Calibration {
 public:
  struct Options {
    double prior_weight =
        32;               // outcomes that the model's own word is worth: a boot gives few per bin
    double memory = 400;  // decided outcomes of a bin older than this weigh less than half
    uint32_t contexts_max = 256;  // contexts above share the last one
  };
  explicit Calibration(Options options);

  // Returns the probability of what the model said with confidence `said` in `context`, in (0, 1).
  float probability(uint16_t context, float said) const;
  // Learns one outcome.
  void learn(uint16_t context, float said, bool happened);
  // Turns an outcome learned as "did not happen" into one that did: it came true later than
  // thought. What was forgotten of the old outcome meanwhile is not taken back, so a bin never goes
  // negative.
  void revise(uint16_t context, float said);
  // Keeps the shares that were seen, but only with the weight of so many outcomes per bin: what
  // comes now is another phase.
  void forget(uint32_t outcomes_kept);
  size_t state_bytes() const { return cells_.capacity() * sizeof(Cells); }

 private:
  struct Cell {
    float happened = 0;
    float failed = 0;
  };
  using Cells = std::array<Cell, kBins>;
  Cell& cell(uint16_t context, float said);

  Options options_;
  float keep_;
  std::vector<Cells> cells_;  // by context; grown on demand up to contexts_max
};

// How well probabilities that were acted on held: said against happened, per bin. One thread.
class Reliability {
 public:
  struct Bin {
    double said = 0;      // mean of the probabilities
    double happened = 0;  // share that came true
    uint64_t count = 0;
  };
  void add(float probability, bool happened);
  // Moves one failure of `probability` to the successes.
  void revise(float probability);
  std::array<Bin, kBins> bins() const;
  // Returns mean |said − happened| over the bins, weighted by count; 0 if nothing was added.
  double gap() const;
  uint64_t count() const;
  uint64_t happened() const;

 private:
  struct Sum {
    double said = 0;
    uint64_t happened = 0, count = 0;
  };
  std::array<Sum, kBins> sums_{};
};

}  // namespace forerun::score
