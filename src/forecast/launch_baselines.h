// What the engine is measured against: rankings of (manifest, host) that anyone would write first.
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "forecast/launch.h"

namespace forerun::forecast {

// One thread. Ticks come in order, as for LaunchPiece.
class LaunchRanking {
 public:
  virtual ~LaunchRanking() = default;
  // Sets the rank of each cell for the window that begins with `tick`: higher is fetched first, 0
  // never.
  virtual void rank(int64_t tick, std::span<double> rank) = 0;
  virtual void learn(int64_t tick, std::span<const Launched> launched) = 0;
};

// last_value: what was launched on the host most recently, more launches first.
// most_frequent: launches of the manifest on the host so far; _batches: batches; _fleet: launches
// on all hosts.
// seasonal_naive: launches on the host in the same window a day ago, the rest as most_frequent.
std::span<const std::string_view> launch_ranking_names();
// ERRORS: kNotFound.
Result<std::unique_ptr<LaunchRanking>> make_launch_ranking(std::string_view name,
                                                           const LaunchShape& shape);

}  // namespace forerun::forecast
