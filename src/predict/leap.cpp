#include "predict/leap.h"

#include <algorithm>
#include <bit>

namespace forerun::predict {
namespace {

constexpr float kPaceKeep = 0.9f;
constexpr float kStepFade = 0.97f;

}  // namespace

void LeapModel::on_start(Time, std::vector<Candidate>&) {}
void LeapModel::on_end(Time) {}

std::optional<LeapModel::Trend> LeapModel::trend() const {
  for (size_t window = kWindowFirst; window <= std::min(kHistory, count_); window *= 2) {
    Trend trend{.window = window};
    size_t lead = 0;
    for (size_t age = 0; age < window; ++age) {
      if (lead == 0) trend.delta = delta_before(age);
      lead = delta_before(age) == trend.delta ? lead + 1 : lead - 1;
    }
    for (size_t age = 0; age < window; ++age)
      if (delta_before(age) == trend.delta) ++trend.votes;
    if (2 * trend.votes > window) return trend;
  }
  return std::nullopt;
}

void LeapModel::on_access(const trace::Access& access, std::vector<Candidate>& out) {
  if (access.op != trace::Op::kRead || access.block_count == 0) return;
  if (has_last_ && component_ == access.component) {
    deltas_[count_++ % kHistory] = static_cast<int64_t>(access.first_block - last_);
    const auto gap = static_cast<float>(to_seconds(access.at - last_at_));
    pace_s_ = pace_s_ * kPaceKeep + gap * (1 - kPaceKeep);
  }
  if (has_foreseen_) {
    const bool is_right = component_ == access.component && foreseen_ == access.first_block;
    steps_ = is_right ? std::min(options_.steps_max, steps_ * 2) : std::max(1u, steps_ / 2);
  }
  component_ = access.component;
  last_ = access.first_block;
  last_at_ = access.at;
  has_last_ = true;
  const auto found = trend();
  has_foreseen_ = found && found->delta != 0;
  if (!has_foreseen_) return;
  foreseen_ = last_ + static_cast<uint64_t>(found->delta);
  const float share = static_cast<float>(found->votes) / static_cast<float>(found->window + 1);
  const auto kind = static_cast<uint16_t>(std::bit_width(found->window) - 3);  // 4, 8, 16, 32
  float said = share;
  auto block = static_cast<int64_t>(last_);
  for (uint32_t step = 0; step < steps_; ++step, said *= kStepFade) {
    block += found->delta;
    if (block < 0) return;
    const auto context = static_cast<uint16_t>(
        (kind * 8 + std::min<uint32_t>(step, 7)) * 4 +
        std::min<size_t>(4 * (found->votes * 2 - found->window) / found->window, 3));
    out.push_back({access.component, static_cast<uint64_t>(block), access.block_count, said,
                   context, access.at + from_seconds(static_cast<double>(pace_s_) * (step + 1))});
  }
}

}  // namespace forerun::predict
