// On which host a manifest's next launch will be: a mixture of histories of different length.
//
// SOURCE: Herbster, Warmuth, "Tracking the best expert", Machine Learning 32 (1998): weights by the
// probability that each expert gave to what happened, with a fixed share to all, so that a better
// one can take over. Experts are "any host" and decayed counts; weights are per manifest.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "forecast/launch.h"
#include "forecast/volume.h"

namespace forerun::forecast {

// One thread. State: kExperts × cells doubles.
class Placement {
 public:
  Placement(const LaunchShape& shape, LaunchUnit unit);

  // Returns the probability that a launch of `manifest` is on `host`; sums to 1 over hosts.
  double share(uint32_t host, uint32_t manifest) const;
  void learn(int64_t tick, std::span<const Launched> launched);

  static constexpr size_t kExperts = 9;
  // Returns the weights of the experts for a manifest; they sum to 1. The first is "any host".
  std::span<const double> weights(uint32_t manifest) const { return weights_[manifest]; }

 private:
  struct Counts {
    std::vector<double> cells, sums;  // sums: by manifest
  };
  double share_by(size_t expert, uint32_t host, uint32_t manifest) const;

  LaunchShape shape_;
  LaunchUnit unit_;
  int64_t last_tick_ = -1;
  std::array<Counts, kExperts> counts_;
  std::vector<std::array<double, kExperts>> weights_;
};

}  // namespace forerun::forecast
