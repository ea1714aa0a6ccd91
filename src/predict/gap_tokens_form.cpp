#include <fmt/core.h>

#include <algorithm>
#include <span>

#include "predict/gap_tokens.h"

namespace forerun::predict {
namespace {

// Far above what a count reaches: gaps between two halvings.
constexpr uint32_t kSeenMax = 1 << 20;

}  // namespace

void GapTokens::save(ByteWriter& out) const {
  out.u32(since_fade_);
  const auto put = [&](const Count& one) {
    out.u64(one.seen == 0 ? 0 : static_cast<uint64_t>(one.gap));
    out.u32(one.seen);
  };
  for (const Count& one : frequent_) put(one);
  for (const Count& one : candidates_) put(one);
}

Result<GapTokens> GapTokens::restore(ByteReader& in) {
  GapTokens tokens;
  tokens.since_fade_ = in.u32();
  if (tokens.since_fade_ >= kFadeEvery)
    return fail(ErrorCode::kCorrupt, "saved gaps: they should have faded");
  const auto get = [&](Count& one) -> Status {
    one.gap = static_cast<int64_t>(in.u64());
    one.seen = in.u32();
    if (one.seen > kSeenMax || (one.seen == 0 && one.gap != 0) ||
        (one.seen > 0 && one.gap >= -kSmall && one.gap <= kSmall))
      return fail(ErrorCode::kCorrupt,
                  fmt::format("saved gaps: a gap of {} blocks, seen {} times", one.gap, one.seen));
    return {};
  };
  for (size_t i = 0; i < kFrequent; ++i) {
    Count& one = tokens.frequent_[i];
    FR_CHECK(get(one));
    const auto earlier = std::span(tokens.frequent_).first(i);
    if (one.seen > 0 && std::any_of(earlier.begin(), earlier.end(), [&](const Count& other) {
          return other.seen > 0 && other.gap == one.gap;
        }))
      return fail(ErrorCode::kCorrupt,
                  fmt::format("saved gaps: {} blocks have two tokens", one.gap));
  }
  for (Count& one : tokens.candidates_) FR_CHECK(get(one));
  if (!in.good()) return fail(ErrorCode::kCorrupt, "saved gaps: they end early");
  return tokens;
}

}  // namespace forerun::predict
