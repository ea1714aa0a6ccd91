// The last requests of a disk's guest: they travel with a VM that moves, so that the host that it
// comes to knows its ways and which blocks it uses now.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "core/bytes.h"
#include "disk/overlay.h"

namespace forerun::disk {

// One request, in overlay blocks.
struct LoggedRequest {
  uint64_t first_block = 0;
  uint32_t block_count = 0;  // at most kCountMax: of longer ones the beginning
  bool is_write = false;
  bool operator==(const LoggedRequest&) const = default;

  static constexpr uint32_t kCountMax = (1 << 15) - 1;
  uint64_t pack() const {
    return first_block << 16 | uint64_t{block_count} << 1 | (is_write ? 1 : 0);
  }
  static LoggedRequest unpack(uint64_t packed) {
    return {packed >> 16, static_cast<uint32_t>(packed >> 1 & kCountMax), (packed & 1) != 0};
  }
  static LoggedRequest of(ByteRange range, bool is_write) {
    const uint64_t first = range.offset / kOverlayBlockSize;
    const uint64_t count = (range.end() + kOverlayBlockSize - 1) / kOverlayBlockSize - first;
    return {first, static_cast<uint32_t>(std::min<uint64_t>(count, kCountMax)), is_write};
  }
};

// Thread-safe, lock-free: one add and one store a request. Threads that note at once may be put in
// either order.
class RequestLog {
 public:
  static constexpr size_t kRequests = 8192;  // 64 KiB a disk

  void note(ByteRange range, bool is_write) noexcept {
    if (range.empty()) return;
    const uint64_t place = count_.fetch_add(1, std::memory_order_relaxed);
    requests_[place % kRequests].store(LoggedRequest::of(range, is_write).pack(),
                                       std::memory_order_relaxed);
  }
  // Returns what is kept, oldest first.
  std::vector<LoggedRequest> read() const {
    const uint64_t end = count_.load(std::memory_order_relaxed);
    std::vector<LoggedRequest> requests;
    for (uint64_t i = end - std::min<uint64_t>(end, kRequests); i < end; ++i) {
      requests.push_back(
          LoggedRequest::unpack(requests_[i % kRequests].load(std::memory_order_relaxed)));
    }
    return requests;
  }

 private:
  std::atomic<uint64_t> count_{0};
  std::array<std::atomic<uint64_t>, kRequests> requests_{};
};

}  // namespace forerun::disk
