// Which blocks of a disk that is being pulled the guest will want next: what the models of a guest
// at work foresee from its requests, at the host that it left and here; and what it used there, if
// it uses things again (pull_history.h). All of it comes anyway, so a wrong guess costs only its
// turn.
#pragma once

#include <functional>
#include <vector>

#include "core/time.h"
#include "daemon/pull_history.h"
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
  // When a wish is thought to be wanted: before long, as a model says; or nobody knows.
  enum class When : uint8_t { kSoon, kSometime };
  // Wishes for what is foreseen, then for what was used. `want` returns false if it has no room for
  // that now.
  void wish(const std::function<bool(ByteRange, When)>& want);

 private:
  void show(const disk::LoggedRequest& request, bool is_remote, Time at);
  bool is_remote(uint64_t first_block, uint64_t count) const;

  const disk::Overlay& overlay_;
  PullHistory history_;
  size_t learned_ = 0;  // of the requests there
  Time then_{};         // when the next one of them is thought to have been
  predict::Arbiter arbiter_;
  std::vector<predict::Proposal> proposals_;
};

}  // namespace forerun::daemon
