// What a prefetch in vain costs, by the chunk's size. With p the probability, b the bytes, r the
// link's rate and T its round trip, a prefetch gains p (T + b/r) and costs b/r of a guest's
// patience each time it is wrong: worth it from p = c b / (b + k T r) on. T r is about 56 KB on
// the links of docs/prediction.md, whether fast or slow.
#pragma once

#include <algorithm>
#include <cstdint>

namespace forerun::predict {

// Returns the price of `bytes` on the link, 1 for a usual chunk and larger ones, below for smaller.
inline float price_of(uint32_t bytes) {
  constexpr float kUsualBytes = 23 * 1024;
  constexpr float kHalfBytes = 11 * 1024;
  const auto size = static_cast<float>(bytes);
  return std::min(size / (size + kHalfBytes) * (kUsualBytes + kHalfBytes) / kUsualBytes, 1.0f);
}

// Returns the probability at which a usual chunk would be worth as much as one of `bytes` is at
// `probability`: at most 1.
inline float worth_of(float probability, uint32_t bytes) {
  const float price = price_of(bytes);
  return probability < price ? probability / price : 1.0f;
}

}  // namespace forerun::predict
