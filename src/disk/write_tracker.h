// Which parts of a disk were written since somebody asked last: a bit for each 64 KiB.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <vector>

#include "core/bytes.h"

namespace forerun::disk {

// Thread-safe. A write is noted once it has ended and before it is acknowledged: then what was read
// of a part after a take() is either as it stays, or the part is found by a later take().
class WriteTracker {
 public:
  static constexpr uint64_t kPartBytes = 64 * kKiB;

  // Everything counts as written at first: who asks knows of nothing before.
  explicit WriteTracker(uint64_t size_bytes)
      : parts_((size_bytes + kPartBytes - 1) / kPartBytes), words_((parts_ + 63) / 64) {
    for (auto& word : words_) word.store(~uint64_t{0}, std::memory_order_relaxed);
  }

  void note(ByteRange range) noexcept {
    if (range.empty()) return;
    const uint64_t last = std::min((range.end() - 1) / kPartBytes, parts_ - 1);
    for (uint64_t part = range.offset / kPartBytes; part <= last; ++part) {
      std::atomic<uint64_t>& word = words_[part / 64];
      const uint64_t bit = uint64_t{1} << part % 64;
      // Mostly it is set already: then the cache line stays shared.
      if ((word.load(std::memory_order_relaxed) & bit) == 0) word.fetch_or(bit);
    }
  }
  // Returns how much was written since the last take(), in whole parts.
  uint64_t written_bytes() const {
    uint64_t parts = 0;
    for (const auto& word : words_)
      parts += static_cast<uint64_t>(std::popcount(word.load(std::memory_order_relaxed)));
    return std::min(parts, parts_) * kPartBytes;
  }
  // Returns the parts written since the last call, in order.
  std::vector<uint64_t> take() {
    std::vector<uint64_t> written;
    for (size_t i = 0; i < words_.size(); ++i) {
      for (uint64_t word = words_[i].exchange(0); word != 0; word &= word - 1) {
        const uint64_t part = i * 64 + static_cast<uint64_t>(std::countr_zero(word));
        if (part < parts_) written.push_back(part);
      }
    }
    return written;
  }

 private:
  const uint64_t parts_;
  std::vector<std::atomic<uint64_t>> words_;
};

}  // namespace forerun::disk
