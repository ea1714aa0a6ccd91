// A Chow–Liu tree: the tree-shaped Bayesian network over discrete variables that is closest to what
// was seen: the maximum spanning tree by pairwise mutual information.
//
// SOURCE: Chow, Liu, "Approximating discrete probability distributions with dependence trees", IEEE
// Trans. Information Theory 14 (1968). Changed: counts fade, the tree is built again from time to
// time, and some variables may be made leaves.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace forerun::forecast {

// One thread. State: for each pair of variables, the product of their numbers of values.
class ChowLiuTree {
 public:
  struct Options {
    double keep = 0.97;      // of all counts, at each rebuild
    double smoothing = 0.5;  // added to each cell when a probability is asked for
    uint32_t rebuild_every = 1000;
    // Variables that hang on variable 0 whatever the tree would say. What goes with one of the
    // others more than with variable 0 would otherwise be left out when variable 0 is asked for.
    std::vector<size_t> leaves;
  };
  // `values`: how many values each variable takes. REQUIRES: at least 2 variables, each ≥ 1 value.
  ChowLiuTree(std::vector<uint32_t> values, Options options);

  // Learns one joint observation. REQUIRES: a value below its bound for each variable.
  void add(std::span<const uint32_t> sample);
  // Builds the tree from the counts now; add() does so every `rebuild_every` samples.
  void rebuild();

  // Returns the mutual information of two variables in nats, as counted.
  double information(size_t a, size_t b) const;
  bool joined(size_t a, size_t b) const { return joined_[a * variables() + b]; }
  // Sets P(target = v | all others as in `evidence`); evidence[target] is ignored. In a tree whose
  // other variables are all known, only the target's neighbours matter.
  void posterior(size_t target, std::span<const uint32_t> evidence, std::span<double> out) const;
  size_t variables() const { return values_.size(); }

 private:
  // a < b; index value_a × values_[b] + value_b
  const std::vector<double>& pair(size_t a, size_t b) const { return pairs_[a * variables() + b]; }
  double count(size_t a, uint32_t value_a, size_t b, uint32_t value_b) const;

  Options options_;
  std::vector<uint32_t> values_;
  std::vector<std::vector<double>> single_, pairs_;
  std::vector<bool> joined_;
  double total_ = 0;
  uint32_t since_rebuild_ = 0;
};

}  // namespace forerun::forecast
