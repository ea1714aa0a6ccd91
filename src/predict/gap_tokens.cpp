#include "predict/gap_tokens.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace forerun::predict {

uint32_t GapTokens::magnitude_of(int64_t gap) {
  const uint64_t bits = static_cast<uint64_t>(gap);
  const uint64_t size = gap < 0 ? 0 - bits : bits;
  const auto power = static_cast<uint32_t>(std::bit_width(size) - 1) / 4;
  return kFirstMagnitude + std::min(power, kMagnitudes / 2 - 1) + (gap < 0 ? kMagnitudes / 2 : 0);
}

void GapTokens::fade() {
  for (Count& one : frequent_) one.seen -= one.seen / 2;
  for (Count& one : candidates_) one.seen /= 2;
}

size_t GapTokens::slot_of(int64_t gap) {
  return static_cast<uint64_t>(gap) * 0x9e3779b97f4a7c15 >> 56;
}

uint32_t GapTokens::token_of(int64_t gap) {
  if (gap >= -kSmall && gap <= kSmall) return static_cast<uint32_t>(gap + kSmall);
  if (++since_fade_ == kFadeEvery) {
    since_fade_ = 0;
    fade();
  }
  for (uint32_t i = 0; i < kFrequent; ++i) {
    if (frequent_[i].seen == 0 || frequent_[i].gap != gap) continue;
    ++frequent_[i].seen;
    return kFirstFrequent + i;
  }
  Count& candidate = candidates_[slot_of(gap)];
  if (candidate.gap == gap)
    ++candidate.seen;
  else if (candidate.seen > 0)
    --candidate.seen;
  else
    candidate = {gap, 1};
  if (candidate.gap != gap || candidate.seen < kPromotedFrom) return magnitude_of(gap);
  Count& least = *std::min_element(frequent_.begin(), frequent_.end(),
                                   [](const Count& a, const Count& b) { return a.seen < b.seen; });
  if (candidate.seen <= least.seen) return magnitude_of(gap);
  std::swap(least, candidate);
  return kFirstFrequent + static_cast<uint32_t>(&least - frequent_.data());
}

std::optional<int64_t> GapTokens::gap_of(uint32_t token) const {
  if (token < kFirstMagnitude) return static_cast<int64_t>(token) - kSmall;
  if (token < kFirstFrequent || token >= kTokens) return std::nullopt;
  const Count& one = frequent_[token - kFirstFrequent];
  if (one.seen == 0) return std::nullopt;
  return one.gap;
}

}  // namespace forerun::predict
