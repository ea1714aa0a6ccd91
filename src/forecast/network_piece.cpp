#include "forecast/network_piece.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace forerun::forecast {
namespace {

constexpr double kHostHalfLife_s = 2 * 86400;
constexpr double kPriorTicks = 20;  // of the fleet's mean, for a host that was seen little

}  // namespace

NetworkPiece::NetworkPiece(const LaunchShape& shape)
    : shape_(shape),
      tree_({std::min(shape.manifests, kManifestsMax), std::min(shape.hosts, kHostsMax), 24, 7,
             std::min(shape.manifests, kManifestsMax) + 1},
            {}),
      keep_(std::exp2(-static_cast<double>(shape.tick_s) / kHostHalfLife_s)),
      hosts_(shape.hosts),
      previous_(shape.hosts, std::min(shape.manifests, kManifestsMax)) {}

uint32_t NetworkPiece::manifest_value(uint32_t manifest) const {
  return std::min(manifest, std::min(shape_.manifests, kManifestsMax) - 1);
}

uint32_t NetworkPiece::host_value(uint32_t host) const {
  return std::min(host, std::min(shape_.hosts, kHostsMax) - 1);
}

void NetworkPiece::foresee(int64_t tick, std::span<float> probability) {
  const uint32_t values = std::min(shape_.manifests, kManifestsMax);
  const uint32_t sharing = shape_.manifests - values + 1;  // manifests of the last value
  double fleet = 0;
  for (const double host : hosts_) fleet += host;
  const double mean = fleet / std::max(weight_, 1.0) / shape_.hosts;
  std::vector<double> chances(values);
  for (uint32_t h = 0; h < shape_.hosts; ++h) {
    const double rate = (hosts_[h] + kPriorTicks * mean) / (weight_ + kPriorTicks);
    const std::array<uint32_t, kVariables> evidence = {0, host_value(h), shape_.hour_of(tick),
                                                       shape_.weekday_of(tick), previous_[h]};
    tree_.posterior(kManifest, evidence, chances);
    for (uint32_t m = 0; m < shape_.manifests; ++m) {
      const double part =
          chances[manifest_value(m)] / (manifest_value(m) + 1 == values ? sharing : 1);
      probability[shape_.cell(h, m)] =
          static_cast<float>(-std::expm1(-rate * part * shape_.window_ticks));
    }
  }
}

void NetworkPiece::learn(int64_t tick, std::span<const Launched> launched) {
  weight_ = weight_ * keep_ + 1;
  for (double& host : hosts_) host *= keep_;
  for (const Launched& one : launched) {
    const std::array<uint32_t, kVariables> sample = {manifest_value(one.manifest),
                                                     host_value(one.host), shape_.hour_of(tick),
                                                     shape_.weekday_of(tick), previous_[one.host]};
    tree_.add(sample);
    hosts_[one.host] += one.batches;
  }
  // After all: what was launched in one tick has no order.
  for (const Launched& one : launched) previous_[one.host] = manifest_value(one.manifest);
}

}  // namespace forerun::forecast
