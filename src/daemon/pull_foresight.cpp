#include "daemon/pull_foresight.h"

#include <array>

#include "daemon/disk_pull.h"
#include "predict/at_work.h"
#include "predict/registry.h"

namespace forerun::daemon {
namespace {

constexpr ComponentId kDisk{1};
constexpr uint64_t kBlock = disk::kOverlayBlockSize;
constexpr size_t kRequestsPerRound = 128;
// Between two requests of which only the order is known.
constexpr Nanos kStep = 100us;

// Those of a guest at work that learn within seconds; a network does not.
std::vector<std::unique_ptr<predict::Model>> make_models() {
  const std::vector<std::string> names = {"markov", "association", "sequential", "stride",
                                          "successor"};
  auto models = predict::make_models(
      names, {.components = {kDisk}, .block_bytes = static_cast<uint32_t>(kBlock)});
  FR_ASSERT(models.has_value(), "a model of the registry's is missing");
  return std::move(*models);
}

}  // namespace

PullForesight::PullForesight(Options options, const Clock& clock, const disk::Overlay& overlay,
                             DiskPull& pull, std::vector<disk::LoggedRequest> before)
    : clock_(clock),
      overlay_(overlay),
      pull_(pull),
      ring_(options.ring_requests),
      before_(std::move(before)),
      used_left_(before_.size()),
      arbiter_(
          [&] {
            predict::Arbiter::Options work = predict::work_options();
            work.probability_min = work.probability_least = options.probability_min;
            work.waste_max = 0;  // everything is wanted in the end
            work.which_are_here = [this](ComponentId, uint64_t first, uint32_t count) {
              uint64_t here = 0;
              for (uint32_t i = 0; i < count; ++i)
                here |= uint64_t{is_remote(first + i, 1) ? 0u : 1u} << i;
              return here;
            };
            return work;
          }(),
          make_models()) {
  thread_ = std::jthread([this] { work(); });
}

PullForesight::~PullForesight() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  stopping_.notify_all();
}

void PullForesight::note(disk::LoggedRequest request) noexcept { ring_.push(request); }

bool PullForesight::is_remote(uint64_t first_block, uint64_t count) const {
  return !overlay_.next_remote({first_block * kBlock, count * kBlock}).empty();
}

void PullForesight::learn(const disk::LoggedRequest& request, bool is_remote, Time at) {
  arbiter_.on_access(
      {.at = at,
       .component = kDisk,
       .first_block = request.first_block,
       .block_count = request.block_count,
       .op = request.is_write ? trace::Op::kWrite : trace::Op::kRead,
       .served_from = is_remote ? trace::ServedFrom::kRepository : trace::ServedFrom::kLocal},
      proposals_);
}

void PullForesight::wish() {
  for (const predict::Proposal& proposal : proposals_) {
    if (is_remote(proposal.first_block, proposal.block_count))
      pull_.want_soon({proposal.first_block * kBlock, proposal.block_count * kBlock});
  }
  proposals_.clear();
  for (; used_left_ > 0; --used_left_) {
    const disk::LoggedRequest& used = before_[used_left_ - 1];
    if (!is_remote(used.first_block, used.block_count)) continue;
    if (!pull_.want_soon({used.first_block * kBlock, used.block_count * kBlock})) return;
  }
}

void PullForesight::work() {
  std::array<disk::LoggedRequest, kRequestsPerRound> requests;
  wish();
  Time then = clock_.now() - kStep * before_.size();
  size_t learned = 0;
  std::unique_lock lock(mutex_);
  while (!is_stopping_) {
    lock.unlock();
    // What the guest does now comes before what it did then.
    const size_t count = ring_.drain(requests);
    for (size_t i = 0; i < count; ++i) {
      const bool was_remote = is_remote(requests[i].first_block, requests[i].block_count);
      learn(requests[i], was_remote, clock_.now());
    }
    wish();
    for (size_t i = 0; i < kRequestsPerRound && learned < before_.size(); ++i, then += kStep)
      learn(before_[learned++], false, then);
    // What they made the models say was for then.
    if (learned < before_.size()) proposals_.clear();
    lock.lock();
    if (count == 0 && learned == before_.size())
      stopping_.wait_for(lock, kRound, [this] { return is_stopping_; });
  }
}

}  // namespace forerun::daemon
