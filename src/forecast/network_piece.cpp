#include "forecast/network_piece.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace forerun::forecast {
namespace {

constexpr double kHostHalfLife_s = 2 * 86400;
constexpr uint32_t kStopCounts_s = 3600;  // after that, that something stopped says nothing
constexpr double kPriorTicks = 20;        // of the fleet's mean, for a host that was seen little

}  // namespace

NetworkPiece::NetworkPiece(const LaunchShape& shape)
    : shape_(shape),
      tree_({manifest_values(), std::min(shape.hosts, kHostsMax), 24, 7, manifest_values() + 1,
             shape.tenants, manifest_values() + 1},
            {.leaves = {kTenant, kStopped}}),
      keep_(std::exp2(-static_cast<double>(shape.tick_s) / kHostHalfLife_s)),
      hosts_(shape.hosts, Host{.previous = manifest_values(), .stopped = manifest_values()}) {}

uint32_t NetworkPiece::manifest_values() const { return std::min(shape_.manifests, kManifestsMax); }

uint32_t NetworkPiece::manifest_value(uint32_t manifest) const {
  return std::min(manifest, manifest_values() - 1);
}

uint32_t NetworkPiece::host_value(uint32_t host) const {
  return std::min(host, std::min(shape_.hosts, kHostsMax) - 1);
}

std::array<uint32_t, NetworkPiece::kVariables> NetworkPiece::evidence(uint32_t manifest,
                                                                      uint32_t host,
                                                                      int64_t tick) const {
  const Host& there = hosts_[host];
  const bool is_late = tick - there.stopped_tick > shape_.ticks_of(kStopCounts_s);
  return {manifest_value(manifest),
          host_value(host),
          shape_.hour_of(tick),
          shape_.weekday_of(tick),
          there.previous,
          there.tenant,
          is_late ? manifest_values() : there.stopped};
}

void NetworkPiece::foresee(int64_t tick, std::span<float> probability) {
  const uint32_t values = manifest_values();
  const uint32_t sharing = shape_.manifests - values + 1;  // manifests of the last value
  double fleet = 0;
  for (const Host& host : hosts_) fleet += host.batches;
  const double mean = fleet / std::max(weight_, 1.0) / shape_.hosts;
  std::vector<double> chances(values);
  for (uint32_t h = 0; h < shape_.hosts; ++h) {
    const double rate = (hosts_[h].batches + kPriorTicks * mean) / (weight_ + kPriorTicks);
    tree_.posterior(kManifest, evidence(0, h, tick), chances);
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
  for (Host& host : hosts_) host.batches *= keep_;
  for (const Launched& one : launched) {
    tree_.add(evidence(one.manifest, one.host, tick));
    hosts_[one.host].batches += one.batches;
  }
  // After all: what was launched in one tick has no order.
  for (const Launched& one : launched) {
    hosts_[one.host].previous = manifest_value(one.manifest);
    hosts_[one.host].tenant = std::min(one.tenant, shape_.tenants - 1);
  }
}

void NetworkPiece::learn_stops(int64_t tick, std::span<const Stopped> stopped) {
  for (const Stopped& one : stopped) {
    hosts_[one.host].stopped = manifest_value(one.manifest);
    hosts_[one.host].stopped_tick = tick;
  }
}

}  // namespace forerun::forecast
