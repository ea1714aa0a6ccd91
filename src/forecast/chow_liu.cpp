#include "forecast/chow_liu.h"

#include <cmath>

#include "core/result.h"

namespace forerun::forecast {

ChowLiuTree::ChowLiuTree(std::vector<uint32_t> values, Options options)
    : options_(std::move(options)), values_(std::move(values)) {
  FR_ASSERT(variables() >= 2);
  for (const size_t leaf : options_.leaves) FR_ASSERT(leaf > 0 && leaf < variables());
  pairs_.resize(variables() * variables());
  joined_.resize(variables() * variables());
  for (size_t a = 0; a < variables(); ++a) {
    FR_ASSERT(values_[a] >= 1);
    single_.emplace_back(values_[a]);
    for (size_t b = a + 1; b < variables(); ++b)
      pairs_[a * variables() + b].resize(size_t{values_[a]} * values_[b]);
  }
  rebuild();
}

double ChowLiuTree::count(size_t a, uint32_t value_a, size_t b, uint32_t value_b) const {
  if (a < b) return pair(a, b)[size_t{value_a} * values_[b] + value_b];
  return pair(b, a)[size_t{value_b} * values_[a] + value_a];
}

void ChowLiuTree::add(std::span<const uint32_t> sample) {
  FR_ASSERT(sample.size() == variables());
  for (size_t a = 0; a < variables(); ++a) {
    FR_ASSERT(sample[a] < values_[a]);
    single_[a][sample[a]] += 1;
    for (size_t b = a + 1; b < variables(); ++b)
      pairs_[a * variables() + b][size_t{sample[a]} * values_[b] + sample[b]] += 1;
  }
  total_ += 1;
  if (++since_rebuild_ >= options_.rebuild_every) rebuild();
}

double ChowLiuTree::information(size_t a, size_t b) const {
  if (total_ <= 0) return 0;
  double sum = 0;
  for (uint32_t i = 0; i < values_[a]; ++i)
    for (uint32_t j = 0; j < values_[b]; ++j)
      if (const double both = count(a, i, b, j); both > 0)
        sum += both / total_ * std::log(both * total_ / (single_[a][i] * single_[b][j]));
  return sum;
}

// Prim's algorithm; of equal edges the one with the lower numbers wins.
void ChowLiuTree::rebuild() {
  since_rebuild_ = 0;
  const size_t n = variables();
  joined_.assign(n * n, false);
  std::vector<bool> inside(n);
  std::vector<double> best(n, -1);
  std::vector<size_t> parent(n);
  inside[0] = true;
  for (const size_t leaf : options_.leaves) {
    inside[leaf] = true;
    joined_[leaf * n] = joined_[leaf] = true;
  }
  for (size_t b = 1; b < n; ++b) best[b] = information(0, b);
  for (size_t step = 1 + options_.leaves.size(); step < n; ++step) {
    size_t next = 0;
    for (size_t b = 1; b < n; ++b)
      if (!inside[b] && (next == 0 || best[b] > best[next])) next = b;
    inside[next] = true;
    joined_[next * n + parent[next]] = joined_[parent[next] * n + next] = true;
    for (size_t b = 1; b < n; ++b) {
      if (inside[b]) continue;
      if (const double edge = information(next, b); edge > best[b]) {
        best[b] = edge;
        parent[b] = next;
      }
    }
  }
  total_ *= options_.keep;
  for (auto& counts : single_)
    for (double& one : counts) one *= options_.keep;
  for (auto& counts : pairs_)
    for (double& one : counts) one *= options_.keep;
}

void ChowLiuTree::posterior(size_t target, std::span<const uint32_t> evidence,
                            std::span<double> out) const {
  FR_ASSERT(evidence.size() == variables() && out.size() == values_[target]);
  double sum = 0;
  for (uint32_t v = 0; v < values_[target]; ++v) {
    const double seen = single_[target][v];
    double weight = seen + options_.smoothing;
    for (size_t other = 0; other < variables(); ++other) {
      if (!joined(target, other)) continue;
      // Shrunk towards the neighbour's own distribution, so that a rare value of the target does
      // not make every value of the neighbour alike.
      const double prior = (single_[other][evidence[other]] + options_.smoothing) /
                           (total_ + options_.smoothing * values_[other]);
      const double both = count(target, v, other, evidence[other]);
      weight *= (both + options_.smoothing * values_[other] * prior) /
                (seen + options_.smoothing * values_[other]);
    }
    out[v] = weight;
    sum += weight;
  }
  for (double& one : out) one /= sum;
}

}  // namespace forerun::forecast
