#include "daemon/pull_guide.h"

#include "predict/at_work.h"
#include "predict/registry.h"

namespace forerun::daemon {
namespace {

constexpr ComponentId kDisk{1};
constexpr uint64_t kBlock = disk::kOverlayBlockSize;
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

PullGuide::PullGuide(Options options, const disk::Overlay& overlay,
                     std::vector<disk::LoggedRequest> before, Time now)
    : overlay_(overlay),
      history_(std::move(before), overlay.remote_blocks(),
               [this](const disk::LoggedRequest& request) {
                 return is_remote(request.first_block, request.block_count);
               }),
      then_(now - kStep * history_.requests().size()),
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
          make_models()) {}

bool PullGuide::is_remote(uint64_t first_block, uint64_t count) const {
  return !overlay_.next_remote({first_block * kBlock, count * kBlock}).empty();
}

void PullGuide::show(const disk::LoggedRequest& request, bool is_remote, Time at) {
  arbiter_.on_access(
      {.at = at,
       .component = kDisk,
       .first_block = request.first_block,
       .block_count = request.block_count,
       .op = request.is_write ? trace::Op::kWrite : trace::Op::kRead,
       .served_from = is_remote ? trace::ServedFrom::kRepository : trace::ServedFrom::kLocal},
      proposals_);
}

void PullGuide::learn(const disk::LoggedRequest& request, Time now) {
  const bool is_remote_now = is_remote(request.first_block, request.block_count);
  history_.see(request, is_remote_now);
  show(request, is_remote_now, now);
}

bool PullGuide::learn_before(size_t requests_max) {
  const std::vector<disk::LoggedRequest>& before = history_.requests();
  if (learned_ == before.size()) return false;
  for (; requests_max > 0 && learned_ < before.size(); --requests_max, then_ += kStep)
    show(before[learned_++], false, then_);
  // What they made the models say was for then, but for the last ones'.
  if (learned_ < before.size()) proposals_.clear();
  return learned_ < before.size();
}

void PullGuide::wish(const std::function<bool(ByteRange, When)>& want) {
  for (const predict::Proposal& proposal : proposals_) {
    if (is_remote(proposal.first_block, proposal.block_count))
      want({proposal.first_block * kBlock, proposal.block_count * kBlock}, When::kSoon);
  }
  proposals_.clear();
  while (const auto used = history_.next()) {
    if (is_remote(used->first_block, used->block_count) &&
        !want({used->first_block * kBlock, used->block_count * kBlock}, When::kSometime))
      return;
    history_.pop();
  }
}

}  // namespace forerun::daemon
