// The tier with its files and the thread that writes chunks back to them.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "core/result.h"
#include "daemon/disk_gate.h"
#include "tier/tier.h"

namespace forerun::daemon {

// Thread-safe.
class TierStore {
 public:
  // The files are kept in `folder`, on the disk of `gate`, which outlives this.
  static Result<std::unique_ptr<TierStore>> open(tier::TierOptions options,
                                                 const std::string& folder, DiskGate& gate);
  // Writes what is queued, so that the next start is warm.
  ~TierStore();

  tier::Tier& tier() { return *tier_; }

 private:
  explicit TierStore(std::unique_ptr<tier::Tier> tier);
  void write_back();

  std::unique_ptr<tier::Tier> tier_;
  std::mutex mutex_;  // guards is_stopping_
  std::condition_variable stop_changed_;
  bool is_stopping_ = false;
  std::jthread writer_;
};

}  // namespace forerun::daemon
