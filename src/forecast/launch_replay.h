// Replays launches against the engine and the baselines: who would have had the manifest on the
// host within the window before its launch, for the same bytes.
//
// Each tick, in this order: every method foresees from ticks before it and prefetches within its
// budget; the tick's launches are counted; every method learns them. So nobody peeks, and all have
// the same clock. A budget is bytes per host and window, pooled over the fleet. It is granted tick
// by tick from zero where counting begins, so nobody can spend more than was granted.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "forecast/launch_baselines.h"
#include "forecast/launch_engine.h"
#include "forecast/launch_plan.h"
#include "trace/launch_trace.h"

namespace forerun::forecast {

// How batches, which a trace does not give a host, are dealt to hosts.
enum class DealBy {
  kTrace,  // by a hash of the batch's position in the whole trace
  kBin,    // by a hash of its position in its bin: hosts keep some of the trace's order
};

// Deals batches to hosts. One thread.
class LaunchDealer {
 public:
  LaunchDealer(uint32_t hosts, DealBy by, uint64_t seed) : hosts_(hosts), by_(by), seed_(seed) {}
  // Returns what the bin launches, by host and manifest, each pair once.
  std::vector<Launched> deal(const trace::LaunchBin& bin);
  // Returns what the bin stops, each pair once. None if there are several hosts: a trace does not
  // say which of them a stop belongs to.
  std::vector<Stopped> deal_stops(const trace::LaunchBin& bin) const;
  // Returns how many tenants were met, and one for "not said".
  uint32_t tenants() const {
    return std::min(kLaunchTenantsMax, static_cast<uint32_t>(tenants_.size()) + 1);
  }

 private:
  uint32_t tenant_number(const std::string& name);

  uint32_t hosts_;
  DealBy by_;
  uint64_t seed_;
  uint64_t position_ = 0;
  std::map<std::string, uint32_t> tenants_;
};

// One tick of a trace after dealing.
struct LaunchTick {
  int64_t tick = 0;
  bool counted = false;
  std::vector<Launched> launched;
  std::vector<Stopped> stopped;
};

// Puts a trace's bins on a grid of ticks. Times without a line are quiet if they are short, and
// not observed if they are longer than an hour. One thread.
class LaunchTicks {
 public:
  LaunchTicks(uint32_t tick_s, LaunchDealer dealer) : tick_s_(tick_s), dealer_(std::move(dealer)) {}
  // ERRORS: kInvalid if the bin does not come after the one before (of any file).
  Status add(const trace::LaunchBin& bin, bool counted);
  const std::vector<LaunchTick>& ticks() const { return ticks_; }
  uint32_t tenants() const { return dealer_.tenants(); }

 private:
  static constexpr uint32_t kQuiet_s = 3600;
  uint32_t tick_s_;
  LaunchDealer dealer_;
  uint64_t last_second_ = 0;
  std::vector<LaunchTick> ticks_;
};

// Returns a size for a manifest that a trace does not give one: 128 MiB to 1 GiB, log-uniform by a
// hash of its name, in whole MiB.
uint64_t size_by_name(std::string_view name);

struct MethodResult {
  std::string method;
  uint64_t budget_bytes = 0;  // per host and window
  uint64_t granted_bytes = 0;
  uint64_t spent_bytes = 0;
  uint64_t prefetches = 0;
  uint64_t used = 0;  // prefetches that met a launch within their window
  uint64_t launches_ready = 0;
  uint64_t batches_ready = 0;
};

struct LaunchReplayResult {
  uint64_t ticks_learned = 0;  // before counting
  uint64_t ticks_counted = 0;
  uint64_t launches = 0;  // counted
  uint64_t batches = 0;
  std::vector<MethodResult> methods;
  score::Reliability reliability;  // of the engine's probabilities
  std::vector<PieceScore> scores;
};

// One thread.
class LaunchReplay {
 public:
  struct Options {
    std::vector<uint64_t> sizes;    // bytes by manifest
    std::vector<uint64_t> budgets;  // bytes per host and window
    LaunchEngine::Options engine;
    LaunchPrices::Options prices;
    uint32_t saved_ticks = 288;
  };
  // ERRORS: as LaunchEngine::make; kInvalid for a size or budget of 0 or a wrong number of sizes.
  static Result<std::unique_ptr<LaunchReplay>> make(const LaunchShape& shape, Options options);

  // The next tick; ticks in between were not observed. `counted`: its launches count.
  // REQUIRES: ticks grow; once counted, all later ones are.
  void feed(int64_t tick, std::span<const Launched> launched, bool counted,
            std::span<const Stopped> stopped = {});
  LaunchReplayResult result() const;

  static constexpr std::string_view kEngine = "forerun";
  static constexpr std::string_view kEngineUnsaved = "forerun_unsaved";  // spends at once
  // most_frequent divided by size: what knowing sizes alone gives.
  static constexpr std::string_view kPerByte = "most_frequent_per_byte";

 private:
  struct Method {
    MethodResult result;
    LaunchPlan plan;
    size_t ranking = 0;  // index of rankings_; kNoRanking: the engine
    bool saves = false;
    bool per_byte = false;
    std::vector<bool> used;  // by cell: the current prefetch met a launch
  };
  static constexpr size_t kNoRanking = SIZE_MAX;
  struct Ranking {
    std::unique_ptr<LaunchRanking> ranking;
    std::vector<double> ranks;
  };
  LaunchReplay(const LaunchShape& shape, Options options, std::unique_ptr<LaunchEngine> engine);
  void add_method(std::string_view name, uint64_t budget, size_t ranking, bool saves,
                  bool per_byte);
  void count(int64_t tick, std::span<const Launched> launched, Method& method);

  LaunchShape shape_;
  Options options_;
  std::unique_ptr<LaunchEngine> engine_;
  LaunchPrices prices_;
  std::vector<Ranking> rankings_;
  std::vector<Method> methods_;
  LaunchReplayResult result_;
};

}  // namespace forerun::forecast
