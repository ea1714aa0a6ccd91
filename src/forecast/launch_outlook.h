// What a host may expect to be launched: the engine on a grid of ticks, taught by a history first
// and then as time goes by. What the simplest rules would say is kept beside it, to compare with.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/result.h"
#include "forecast/launch_baselines.h"
#include "forecast/launch_engine.h"
#include "trace/launch_trace.h"

namespace forerun::forecast {

struct LaunchExpectation {
  uint32_t manifest = 0;
  float probability = 0;        // of at least one launch on this host within the horizon
  float expected_launches = 0;  // within the horizon
  uint64_t due_second = 0;      // expected first launch, if any comes; seconds since the epoch
  std::vector<PieceSaid> pieces;
};

// One thread. Pure: time comes with the calls, in seconds since the epoch.
class LaunchOutlook {
 public:
  struct Options {
    uint32_t tick_s = 60;
    uint32_t window_ticks = 10;
    LaunchEngine::Options engine;
  };
  // Times without a line are quiet if they are at most this long, and not observed if longer.
  static constexpr uint32_t kQuietSeconds = 3600;

  // Who is told apart by name. `hosts`: the own one first; launches on others teach what is common
  // to all. `tenants`: others are as one.
  struct Names {
    std::vector<std::string> hosts, tenants;
  };
  // Manifests are below `manifests`. ERRORS: as LaunchEngine::make.
  static Result<std::unique_ptr<LaunchOutlook>> make(Options options, Names names,
                                                     uint32_t manifests);

  // Learns a line of a history, or what happens now. A batch without a host was launched here; one
  // of an unknown host or manifest is left out. A time before the last one counts as the last one.
  void on_bin(const trace::LaunchBin& bin);
  // It is `now`, and everything until then was told. Returns whether a new tick began: only then
  // has the outlook changed.
  bool advance(uint64_t now);

  // Returns all manifests in the order of their probability here, likeliest first.
  std::vector<LaunchExpectation> ranked() const;
  // Returns the rank that a simple rule (launch_ranking_names) gives each manifest here: higher is
  // fetched first, 0 never. REQUIRES: rule < rules().size().
  std::vector<double> ranks_by(size_t rule);
  static std::span<const std::string_view> rules();

  uint32_t manifests() const { return shape_.manifests; }
  uint32_t horizon_seconds() const { return shape_.tick_s * shape_.window_ticks; }
  uint64_t ticks_learned() const { return ticks_learned_; }
  const LaunchEngine& engine() const { return *engine_; }

 private:
  LaunchOutlook(LaunchShape shape, Names names, std::unique_ptr<LaunchEngine> engine);
  void add(const trace::LaunchBatch& batch, uint32_t host);
  int64_t tick_of(uint64_t second) const;
  bool move_to(int64_t tick);
  void learn(int64_t tick);

  LaunchShape shape_;
  Names names_;
  std::unique_ptr<LaunchEngine> engine_;
  std::vector<std::unique_ptr<LaunchRanking>> rankings_;
  std::vector<Launched> launched_;  // in the current tick; so the next
  std::vector<Stopped> stopped_;
  int64_t tick_ = -1;  // the current one; negative: none yet
  uint64_t ticks_learned_ = 0;
};

}  // namespace forerun::forecast
