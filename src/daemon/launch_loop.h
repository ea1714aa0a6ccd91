// The loop at the scale of launches: what was launched and stopped goes into the history; each
// period, what is likely to be launched soon is looked at, and what its boot is foreseen to read is
// fetched ahead; what came of it is kept. Without threads and clocks: daemon/launches.h runs it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "api/service.h"
#include "core/time.h"
#include "daemon/launch_history.h"
#include "forecast/launch_account.h"
#include "forecast/launch_outlook.h"
#include "prefetch/launch_fetcher.h"

namespace forerun::daemon {

// One thread. `second`: since the epoch.
class LaunchLoop {
 public:
  struct Options {
    std::string host = "local";
    bool acts = true;  // false: says and scores, fetches nothing
    uint32_t period_s = 60;
    uint32_t horizon_s = 600;
    float probability_min = 0.3F;
    uint64_t budget_bytes = 64ull << 20;
    size_t images_max = 16;  // fetched for at once
    LaunchHistory::Options history;
    // Says of a chunk that may be here that it will be wanted, how likely and until when: it is
    // then dearer to evict. May be empty.
    std::function<void(const ChunkId& id, float probability, Time until)> need;
  };
  using Chunks = std::vector<prefetch::LaunchWish::Chunk>;
  // Returns what a boot of an image is foreseen to read, in its order, each chunk once; fetches
  // what is needed to know. ERRORS: kUnavailable if no repository answers; others: not this image.
  using Look = std::function<Result<Chunks>(const std::string& image)>;

  LaunchLoop(Options options, std::unique_ptr<LaunchHistory> history, Look look,
             prefetch::Prefetcher::IsHere is_here);

  // Learns the history from its beginning. Takes about 5 µs per image and period of the history,
  // at most ten seconds: the oldest is left out beyond. Called once before all below.
  void learn(uint64_t second);
  // `tenant`: empty if nobody said.
  void on_launch(const std::string& image, const std::string& tenant, uint64_t second, Time now);
  void on_stop(const std::string& image, uint64_t second);
  // Says what an image is made of, for the report.
  void set_components(const std::string& image, std::vector<std::string> components);
  // Adds a file of past launches, and learns anew. ERRORS: as LaunchHistory::import.
  Result<LaunchHistory::Reading> import(const std::string& path, uint64_t second);
  // Goes on to now. Returns whether a period began: then the outlook has changed.
  bool advance(uint64_t second, prefetch::LinkCost link, Time now);

  // Of chunks on their way and read: as in LaunchFetcher. Call settle() after some.
  prefetch::LaunchFetcher& fetcher() { return fetcher_; }
  void settle(uint64_t second);

  api::LaunchReport report() const;

 private:
  void look_ahead(uint64_t second, prefetch::LinkCost link, Time now);
  void hold(const Chunks& chunks, float probability, Time now) const;
  void note(std::vector<trace::LaunchBatch> batches, uint64_t second);
  forecast::LaunchOutlook::Names names() const;
  std::vector<std::string> images_by(size_t rule);
  uint64_t bytes_of(const std::string& image) const;
  api::LaunchForecastInfo info(const forecast::LaunchExpectation& one) const;
  std::vector<api::LaunchComponentInfo> components_of(
      const std::vector<api::LaunchForecastInfo>& forecast) const;

  Options options_;
  std::unique_ptr<LaunchHistory> history_;
  Look look_;
  std::unique_ptr<forecast::LaunchOutlook> outlook_;
  uint64_t learned_epoch_ = 0;
  std::set<std::string> tenants_;  // that the outlook tells apart
  forecast::LaunchAccount account_;
  prefetch::LaunchFetcher fetcher_;
  std::vector<forecast::LaunchExpectation> ranked_;
  std::map<std::string, uint64_t> image_bytes_;  // foreseen, as last looked at
  std::map<std::string, std::vector<std::string>> image_components_;
};

// Returns the Prometheus text of a report.
std::string launch_metrics(const api::LaunchReport& report);

}  // namespace forerun::daemon
