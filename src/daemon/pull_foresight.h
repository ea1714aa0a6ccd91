// Has what PullGuide foresees fetched while a disk is being pulled: on a thread of its own, fed by
// those that serve the guest.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "daemon/pull_guide.h"
#include "trace/lossy_ring.h"

namespace forerun::daemon {

class DiskPull;

// Thread-safe.
class PullForesight {
 public:
  struct Options {
    size_t ring_requests = 1024;
    PullGuide::Options guide;
  };
  static constexpr Nanos kRound = 2ms;

  // `before`: as PullGuide has it. The others outlive this.
  PullForesight(Options options, const Clock& clock, const disk::Overlay& overlay, DiskPull& pull,
                std::vector<disk::LoggedRequest> before);
  ~PullForesight();

  // Never blocks: what finds the ring full is lost.
  void note(disk::LoggedRequest request) noexcept;

 private:
  void work();

  const Clock& clock_;
  const disk::Overlay& overlay_;
  DiskPull& pull_;
  trace::LossyRing<disk::LoggedRequest> ring_;
  PullGuide guide_;  // of the one thread

  std::mutex mutex_;  // guards is_stopping_
  std::condition_variable stopping_;
  bool is_stopping_ = false;
  std::jthread thread_;
};

}  // namespace forerun::daemon
