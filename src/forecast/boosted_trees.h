// The probability of an event, or the mean of a quantity, from a row of numbers: gradient-boosted
// decision trees, trained on rows whose outcome is known.
//
// SOURCE: Friedman, "Greedy function approximation: a gradient boosting machine", Annals of
// Statistics 29(5), 2001 (logistic and least-squares loss); second-order gains and leaf values:
// Chen & Guestrin, "XGBoost", KDD 2016; splits between quantile bins: Ke et al., "LightGBM", NIPS
// 2017.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace forerun::forecast {

// Immutable once trained. State: 12 bytes a node, 2^(depth + 1) nodes a tree.
class BoostedTrees {
 public:
  // What is learned: the probability of an event whose outcomes are 0 or 1, or the mean.
  enum class Loss : uint8_t { kLogistic, kSquared };
  struct Options {
    Loss loss = Loss::kLogistic;
    uint32_t trees = 250;
    uint32_t depth = 4;
    double rate = 0.07;            // by which each tree's say is shrunk
    double row_share = 0.3;        // that a tree sees
    double column_share = 0.3;     // that a tree may split on
    double leaf_weight_min = 100;  // of the rows in a leaf: the sum of p(1 - p), or their number
    double l2 = 50;
    uint64_t seed = 1;
  };
  // `rows`: row after row of `columns` numbers; `outcomes`: one per row, as the loss says.
  // REQUIRES: columns > 0, rows.size() == columns * outcomes.size(), at least one row.
  BoostedTrees(std::span<const float> rows, size_t columns, std::span<const float> outcomes,
               const Options& options);

  // `row`: `columns` numbers. Returns what it foresees: a mean, or the log odds of the event.
  double score(std::span<const float> row) const;
  // Returns the event's probability, in (0, 1). REQUIRES: the loss is logistic.
  double probability(std::span<const float> row) const;
  size_t columns() const { return columns_; }

 private:
  struct Node {
    int32_t column = -1;  // -1: a leaf, all of them at the bottom once trained
    float limit = 0;      // what is not above goes to the left
    float value = 0;      // of a leaf
  };
  class Trainer;

  size_t columns_;
  uint32_t depth_;
  double base_ = 0;          // the score before any tree
  std::vector<Node> nodes_;  // tree after tree, each a heap: the children of i at 2i + 1, 2i + 2
};

}  // namespace forerun::forecast
