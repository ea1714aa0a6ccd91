#include "daemon/pull_foresight.h"

#include <array>

#include "daemon/disk_pull.h"

namespace forerun::daemon {
namespace {

constexpr size_t kRequestsPerRound = 128;

}  // namespace

PullForesight::PullForesight(Options options, const Clock& clock, const disk::Overlay& overlay,
                             DiskPull& pull, std::vector<disk::LoggedRequest> before)
    : clock_(clock),
      overlay_(overlay),
      pull_(pull),
      ring_(options.ring_requests),
      guide_(options.guide, overlay, std::move(before), clock.now()),
      thread_([this] { work(); }) {}

PullForesight::~PullForesight() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  stopping_.notify_all();
  thread_.join();
}

void PullForesight::note(disk::LoggedRequest request) noexcept { ring_.push(request); }

void PullForesight::work() {
  std::array<disk::LoggedRequest, kRequestsPerRound> requests;
  std::unique_lock lock(mutex_);
  while (!is_stopping_ && overlay_.pull_id() != 0) {
    lock.unlock();
    // What the guest does now comes before what it did then.
    const size_t count = ring_.drain(requests);
    pull_.follow(std::span(requests).first(count));
    for (size_t i = 0; i < count; ++i) guide_.learn(requests[i], clock_.now());
    guide_.wish([this](ByteRange range, PullGuide::When when) {
      return when == PullGuide::When::kSoon ? pull_.want_soon(range) : pull_.want_sometime(range);
    });
    const bool has_more = guide_.learn_before(kRequestsPerRound);
    lock.lock();
    if (count == 0 && !has_more) stopping_.wait_for(lock, kRound, [this] { return is_stopping_; });
  }
}

}  // namespace forerun::daemon
