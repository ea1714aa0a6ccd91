// Keeps the tier's memory as large as the host can spare: reads the host's memory twice a second,
// asks the policy, sets the limit. Also tells the tier the time and what the link costs.
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "core/time.h"
#include "iosched/link_estimator.h"
#include "tier/pool_policy.h"
#include "tier/tier.h"

namespace forerun::daemon {

// Thread-safe.
class MemoryKeeper {
 public:
  struct Options {
    tier::PoolPolicy::Options policy;
    std::string root;  // of /proc and /sys; empty: the host's
  };
  static constexpr Nanos kRound = 500ms;
  using ReadLink = std::function<iosched::LinkEstimate()>;

  // `tier` outlives this object.
  MemoryKeeper(Options options, const Clock& clock, tier::Tier& tier, ReadLink read_link);
  ~MemoryKeeper();
  // Begins to do a round every kRound, on a thread of its own.
  void start();
  // One round.
  void step();

  // Returns what the host said last; zeroes if it says nothing.
  tier::HostMemory host() const;

 private:
  void run();
  void adjust(const tier::HostMemory& host);

  const Options options_;
  const Clock& clock_;
  tier::Tier& tier_;
  const ReadLink read_link_;

  mutable std::mutex mutex_;  // guards host_ and is_stopping_
  tier::HostMemory host_;
  bool is_stopping_ = false;
  std::condition_variable stop_changed_;

  std::mutex step_mutex_;  // guards the below
  tier::PoolPolicy policy_;
  bool is_blind_ = false;  // the host's memory could not be read; said once
  std::jthread thread_;
};

}  // namespace forerun::daemon
