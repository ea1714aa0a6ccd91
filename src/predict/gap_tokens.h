// Where the next request begins, as one of few tokens: its gap from the end of the one before.
// Small gaps have a token each, frequent ones get one as they are met, and the rest share one for
// each magnitude.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "core/codec.h"
#include "core/result.h"

namespace forerun::predict {

// One thread.
class GapTokens {
 public:
  static constexpr int64_t kSmall = 8;  // blocks, either way
  static constexpr uint32_t kSmallTokens = 2 * kSmall + 1;
  static constexpr uint32_t kMagnitudes = 12;  // six either way, by powers of 16
  static constexpr uint32_t kFrequent = 35;
  static constexpr uint32_t kTokens = kSmallTokens + kMagnitudes + kFrequent;

  // Counts the gap, and returns its token. A gap that became frequent enough takes the token of the
  // least frequent one.
  uint32_t token_of(int64_t gap);
  // Returns the gap that a token stands for; nothing for a magnitude, or a token never given.
  std::optional<int64_t> gap_of(uint32_t token) const;

  // The saved form (docs/format_history.md): which token stands for which gap, and how often each
  // was seen.
  void save(ByteWriter& out) const;
  // ERRORS: kCorrupt.
  static Result<GapTokens> restore(ByteReader& in);

 private:
  static constexpr uint32_t kFirstMagnitude = kSmallTokens;
  static constexpr uint32_t kFirstFrequent = kFirstMagnitude + kMagnitudes;
  static constexpr uint32_t kCandidates = 256;
  static constexpr uint32_t kPromotedFrom = 6;     // times seen
  static constexpr uint32_t kFadeEvery = 1 << 14;  // gaps: then all counts are halved
  struct Count {
    int64_t gap = 0;
    uint32_t seen = 0;
  };
  static uint32_t magnitude_of(int64_t gap);
  static size_t slot_of(int64_t gap);  // in candidates_
  void fade();

  std::array<Count, kFrequent> frequent_{};
  std::array<Count, kCandidates> candidates_{};  // by a hash of the gap; the weaker gives way
  uint32_t since_fade_ = 0;
};

}  // namespace forerun::predict
