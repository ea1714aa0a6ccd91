#include "forecast/boosted_trees.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "core/result.h"
#include "core/rng.h"

namespace forerun::forecast {
namespace {

constexpr size_t kBins = 64;
constexpr size_t kBinSample = 20'000;  // rows that decide where bins end
constexpr double kBase_min = 1e-4;     // of the probability before any tree

double logistic(double sum) { return 1 / (1 + std::exp(-sum)); }

struct Moment {
  float slope = 0, weight = 0;  // sums of the loss's first and second derivatives
};

}  // namespace

class BoostedTrees::Trainer {
 public:
  Trainer(std::span<const float> rows, size_t columns, std::span<const float> outcomes,
          const Options& options, std::vector<Node>& nodes)
      : columns_(columns),
        count_(outcomes.size()),
        options_(options),
        rng_(options.seed),
        outcomes_(outcomes),
        nodes_(nodes) {
    make_bins(rows);
  }

  void train(double base) {
    scores_.assign(count_, base);
    moments_.resize(count_);
    for (uint32_t t = 0; t < options_.trees; ++t) grow_tree();
    complete();
  }

 private:
  struct Split {
    double gain = 0;
    int column = -1;
    size_t bin = 0;
  };

  void make_bins(std::span<const float> rows) {
    limits_.resize(columns_);
    bins_.resize(rows.size());
    const size_t step = std::max<size_t>(1, count_ / kBinSample);
    std::vector<float> sample;
    for (size_t c = 0; c < columns_; ++c) {
      sample.clear();
      for (size_t r = 0; r < count_; r += step) sample.push_back(rows[r * columns_ + c]);
      std::sort(sample.begin(), sample.end());
      auto& limits = limits_[c];
      for (size_t b = 1; b < kBins; ++b) limits.push_back(sample[b * sample.size() / kBins]);
      limits.erase(std::unique(limits.begin(), limits.end()), limits.end());
      // Column after column, so that a histogram reads in order.
      for (size_t r = 0; r < count_; ++r)
        bins_[c * count_ + r] = static_cast<uint8_t>(
            std::lower_bound(limits.begin(), limits.end(), rows[r * columns_ + c]) -
            limits.begin());
    }
  }

  void grow_tree() {
    for (size_t r = 0; r < count_; ++r) {
      if (options_.loss == Loss::kSquared) {
        moments_[r] = {static_cast<float>(scores_[r] - outcomes_[r]), 1};
        continue;
      }
      const double p = logistic(scores_[r]);
      moments_[r] = {static_cast<float>(p - outcomes_[r]), static_cast<float>(p * (1 - p))};
    }
    std::vector<uint32_t> seen, columns;
    for (uint32_t r = 0; r < count_; ++r)
      if (rng_.unit() < options_.row_share) seen.push_back(r);
    for (uint32_t c = 0; c < columns_; ++c)
      if (rng_.unit() < options_.column_share) columns.push_back(c);
    const size_t first = nodes_.size();
    nodes_.resize(first + (size_t{2} << options_.depth) - 1);
    split(first, 0, 0, seen, columns);
    for (uint32_t r = 0; r < count_; ++r) scores_[r] += leaf_of(first, r);
  }

  // Makes all leaves equally deep, so that score() need not look where they are: a leaf above hands
  // its value down to the left, where everything goes.
  void complete() {
    const size_t size = (size_t{2} << options_.depth) - 1, inner = size / 2;
    for (size_t first = 0; first < nodes_.size(); first += size) {
      for (size_t at = 0; at < inner; ++at) {
        Node& node = nodes_[first + at];
        if (node.column >= 0) continue;
        node.column = 0;
        node.limit = std::numeric_limits<float>::infinity();
        nodes_[first + 2 * at + 1] = {.value = node.value};
      }
    }
  }

  double leaf_of(size_t first, uint32_t row) const {
    size_t at = 0;
    while (nodes_[first + at].column >= 0) {
      const Node& node = nodes_[first + at];
      const auto c = static_cast<size_t>(node.column);
      at = 2 * at + (bins_[c * count_ + row] <= node_bin_[first + at] ? 1 : 2);
    }
    return nodes_[first + at].value;
  }

  double worth(double slope, double weight) const { return slope * slope / (weight + options_.l2); }

  Split best_split(std::span<const uint32_t> rows, std::span<const uint32_t> columns, double slope,
                   double weight) const {
    Split best;
    for (const uint32_t c : columns) {
      std::array<Moment, kBins> histogram{};
      const uint8_t* bins = bins_.data() + c * count_;
      for (const uint32_t r : rows) {
        Moment& moment = histogram[bins[r]];
        moment.slope += moments_[r].slope;
        moment.weight += moments_[r].weight;
      }
      double left_slope = 0, left_weight = 0;
      for (size_t b = 0; b < limits_[c].size(); ++b) {
        left_slope += histogram[b].slope;
        left_weight += histogram[b].weight;
        if (left_weight < options_.leaf_weight_min) continue;
        if (weight - left_weight < options_.leaf_weight_min) break;
        const double gain = worth(left_slope, left_weight) +
                            worth(slope - left_slope, weight - left_weight) - worth(slope, weight);
        if (gain > best.gain) best = {gain, static_cast<int>(c), b};
      }
    }
    return best;
  }

  // Splits the node `at` of the tree that begins at `first`; sorts `rows` by side.
  void split(size_t first, size_t at, uint32_t depth, std::span<uint32_t> rows,
             std::span<const uint32_t> columns) {
    node_bin_.resize(nodes_.size());
    double slope = 0, weight = 0;
    for (const uint32_t r : rows) {
      slope += moments_[r].slope;
      weight += moments_[r].weight;
    }
    nodes_[first + at].value = static_cast<float>(-options_.rate * slope / (weight + options_.l2));
    if (depth == options_.depth) return;
    const Split best = best_split(rows, columns, slope, weight);
    if (best.column < 0) return;
    const auto c = static_cast<size_t>(best.column);
    nodes_[first + at].column = best.column;
    nodes_[first + at].limit = limits_[c][best.bin];
    node_bin_[first + at] = static_cast<uint8_t>(best.bin);
    const uint8_t* bins = bins_.data() + c * count_;
    const auto middle =
        std::partition(rows.begin(), rows.end(), [&](uint32_t r) { return bins[r] <= best.bin; });
    split(first, 2 * at + 1, depth + 1, {rows.begin(), middle}, columns);
    split(first, 2 * at + 2, depth + 1, {middle, rows.end()}, columns);
  }

  size_t columns_, count_;
  const Options& options_;
  Rng rng_;
  std::span<const float> outcomes_;
  std::vector<Node>& nodes_;
  std::vector<uint8_t> node_bin_;           // of each node: the last bin that goes to the left
  std::vector<std::vector<float>> limits_;  // of columns: the upper ends of their bins
  std::vector<uint8_t> bins_;
  std::vector<double> scores_;
  std::vector<Moment> moments_;
};

BoostedTrees::BoostedTrees(std::span<const float> rows, size_t columns,
                           std::span<const float> outcomes, const Options& options)
    : columns_(columns), depth_(options.depth) {
  FR_ASSERT(columns > 0 && !outcomes.empty() && rows.size() == columns * outcomes.size());
  double sum = 0;
  for (const float each : outcomes) sum += each;
  base_ = sum / static_cast<double>(outcomes.size());
  if (options.loss == Loss::kLogistic) {
    base_ = std::clamp(base_, kBase_min, 1 - kBase_min);
    base_ = std::log(base_ / (1 - base_));
  }
  Trainer(rows, columns, outcomes, options, nodes_).train(base_);
}

double BoostedTrees::score(std::span<const float> row) const {
  FR_ASSERT(row.size() == columns_);
  const size_t size = (size_t{2} << depth_) - 1;
  double sum = base_;
  for (size_t first = 0; first < nodes_.size(); first += size) {
    size_t at = 0;
    for (uint32_t level = 0; level < depth_; ++level) {
      const Node& node = nodes_[first + at];
      at = 2 * at + 1 + (row[static_cast<size_t>(node.column)] > node.limit);
    }
    sum += nodes_[first + at].value;
  }
  return sum;
}

double BoostedTrees::probability(std::span<const float> row) const { return logistic(score(row)); }

}  // namespace forerun::forecast
