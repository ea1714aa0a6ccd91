// Which blocks of a disk that is being pulled the guest will want next: those that it used last at
// the host that it left, newest first, and what the models of a guest at work foresee from its
// requests, there and here. All of it comes anyway, so a wrong guess costs only its turn.
#pragma once

#include <functional>
#include <vector>

#include "core/time.h"
#include "disk/request_log.h"
#include "predict/arbiter.h"

namespace forerun::daemon {

// One thread.
class PullGuide {
 public:
  struct Options {
    float probability_min = 0.2F;
  };
  // `before`: the guest's requests at the host that it left, oldest first. The overlay outlives
  // this.
  PullGuide(Options options, const disk::Overlay& overlay, std::vector<disk::LoggedRequest> before,
            Time now);

  // The guest asked for this now.
  void learn(const disk::LoggedRequest& request, Time now);
  // Learns from some of the requests there. Returns whether there are more.
  bool learn_before(size_t requests_max);
  // Wishes for what is foreseen, then for what was used last. `want` returns false if it has no
  // room for what was used last now.
  void wish(const std::function<bool(ByteRange)>& want);

 private:
  void show(const disk::LoggedRequest& request, bool is_remote, Time at);
  bool is_remote(uint64_t first_block, uint64_t count) const;

  const disk::Overlay& overlay_;
  std::vector<disk::LoggedRequest> before_;
  size_t used_left_ = 0;  // of before_: these are not wished for yet
  size_t learned_ = 0;    // of before_
  Time then_{};           // when the next one of before_ is thought to have been
  predict::Arbiter arbiter_;
  std::vector<predict::Proposal> proposals_;
};

}  // namespace forerun::daemon
