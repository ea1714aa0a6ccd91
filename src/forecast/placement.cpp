#include "forecast/placement.h"

#include <algorithm>
#include <cmath>

namespace forerun::forecast {
namespace {

// How an expert counts a cell's launches of one tick. Large batches are rare and heavy: their
// square root, or a cap, keeps one of them from deciding.
enum class Weigh { kBatches, kRoot, kCapped };
struct Expert {
  double half_life_s;  // 0: counts nothing, every host alike
  Weigh weigh;
};
constexpr std::array<Expert, Placement::kExperts> kExpertList = {{
    {0, Weigh::kBatches},
    {9e6, Weigh::kBatches},
    {6e5, Weigh::kBatches},
    {9e4, Weigh::kBatches},
    {1.08e4, Weigh::kBatches},
    {1.8e3, Weigh::kBatches},
    {6e5, Weigh::kRoot},
    {9e4, Weigh::kRoot},
    {9e6, Weigh::kCapped},
}};
constexpr double kCap = 30;
constexpr double kPrior = 0.2;         // launches on every host, before any is seen
constexpr double kFixedShare = 0.001;  // of the weight, to all experts, per cell that launched
constexpr double kPatience = 0.25;     // launches of one tick are alike: they count as fewer
constexpr double kRootMax = 30;        // a batch of 900

double weight_of(const Launched& one, Weigh weigh) {
  if (weigh == Weigh::kBatches) return one.batches;
  if (weigh == Weigh::kRoot) return std::sqrt(static_cast<double>(one.launches));
  return std::min<double>(one.launches, kCap);
}

}  // namespace

Placement::Placement(const LaunchShape& shape, LaunchUnit unit)
    : shape_(shape), unit_(unit), weights_(shape.manifests) {
  for (auto& weights : weights_) weights.fill(1.0 / kExperts);
  for (Counts& counts : counts_) {
    counts.cells.resize(shape.cells());
    counts.sums.resize(shape.manifests);
  }
}

double Placement::share_by(size_t expert, uint32_t host, uint32_t manifest) const {
  if (expert == 0) return 1.0 / shape_.hosts;
  const Counts& counts = counts_[expert];
  return (counts.cells[shape_.cell(host, manifest)] + kPrior) /
         (counts.sums[manifest] + kPrior * shape_.hosts);
}

double Placement::share(uint32_t host, uint32_t manifest) const {
  double share = 0;
  for (size_t k = 0; k < kExperts; ++k)
    share += weights_[manifest][k] * share_by(k, host, manifest);
  return share;
}

void Placement::learn(int64_t tick, std::span<const Launched> launched) {
  for (const Launched& one : launched) {
    const double number = unit_ == LaunchUnit::kBatches ? one.batches : one.launches;
    const double exponent = kPatience * std::min(std::sqrt(number), kRootMax);
    auto& weights = weights_[one.manifest];
    double sum = 0;
    for (size_t k = 0; k < kExperts; ++k) {
      weights[k] *= std::pow(share_by(k, one.host, one.manifest) * shape_.hosts, exponent);
      sum += weights[k];
    }
    for (double& weight : weights)
      weight = (1 - kFixedShare) * weight / sum + kFixedShare / kExperts;
  }
  const auto elapsed = static_cast<double>(last_tick_ < 0 ? 1 : tick - last_tick_) * shape_.tick_s;
  last_tick_ = tick;
  for (size_t k = 1; k < kExperts; ++k) {
    Counts& counts = counts_[k];
    const double keep = std::exp2(-elapsed / kExpertList[k].half_life_s);
    for (double& cell : counts.cells) cell *= keep;
    for (double& sum : counts.sums) sum *= keep;
    for (const Launched& one : launched) {
      const double weight = weight_of(one, kExpertList[k].weigh);
      counts.cells[shape_.cell(one.host, one.manifest)] += weight;
      counts.sums[one.manifest] += weight;
    }
  }
}

}  // namespace forerun::forecast
