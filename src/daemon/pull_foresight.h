// Which blocks of a disk that is being pulled the guest will want next: those that it used last at
// the host that it left, newest first, and what the models of a guest at work foresee from its
// requests, there and here. All of it comes anyway, so a wrong guess costs only its turn.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "core/time.h"
#include "disk/request_log.h"
#include "predict/arbiter.h"
#include "trace/access_ring.h"

namespace forerun::daemon {

class DiskPull;

// Thread-safe. One thread of its own.
class PullForesight {
 public:
  struct Options {
    size_t ring_requests = 1024;
    float probability_min = 0.2F;
  };
  static constexpr Nanos kRound = 2ms;

  // `before`: the guest's requests at the host that it left, oldest first. The others outlive this.
  PullForesight(Options options, const Clock& clock, const disk::Overlay& overlay, DiskPull& pull,
                std::vector<disk::LoggedRequest> before);
  ~PullForesight();

  // Never blocks: what finds the ring full is lost.
  void note(disk::LoggedRequest request) noexcept;

 private:
  void work();
  void learn(const disk::LoggedRequest& request, bool is_remote, Time at);
  // Wishes for what was used last and for what is foreseen, while there is room.
  void wish();
  bool is_remote(uint64_t first_block, uint64_t count) const;

  const Clock& clock_;
  const disk::Overlay& overlay_;
  DiskPull& pull_;
  trace::LossyRing<disk::LoggedRequest> ring_;
  // Of the one thread.
  std::vector<disk::LoggedRequest> before_;
  size_t used_left_ = 0;  // of before_: these are not wished for yet
  predict::Arbiter arbiter_;
  std::vector<predict::Proposal> proposals_;

  std::mutex mutex_;  // guards is_stopping_
  std::condition_variable stopping_;
  bool is_stopping_ = false;
  std::jthread thread_;
};

}  // namespace forerun::daemon
