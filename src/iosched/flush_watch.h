// Whether somebody waits for a disk's writes: who flushes after each few of them, as databases and
// file systems' journals do, waits for all of them; who writes on without, does not.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "iosched/scheduler.h"

namespace forerun::iosched {

// Thread-safe, lock-free. Threads that call at once may miscount; then a class is off by a request.
class FlushWatch {
 public:
  static constexpr uint32_t kFewWrites = 32;

  // Returns the class of a write that comes now: critical if the guest's flushes follow few writes.
  IoClass on_write() noexcept {
    const uint32_t since = writes_.load(std::memory_order_relaxed) + 1;
    writes_.store(since, std::memory_order_relaxed);
    if (since % kFewWrites == 0) note(false);
    return waits() ? IoClass::kCritical : IoClass::kPrefetch;
  }
  void on_flush() noexcept {
    const uint32_t since = writes_.exchange(0, std::memory_order_relaxed);
    if (since > 0) note(since <= kFewWrites);
  }
  bool waits() const noexcept { return waited_.load(std::memory_order_relaxed) >= kOne / 2; }

 private:
  static constexpr uint32_t kOne = 1 << 16;
  // An average over about four of them.
  void note(bool has_waited) noexcept {
    const uint32_t before = waited_.load(std::memory_order_relaxed);
    waited_.store(before - before / 4 + (has_waited ? kOne / 4 : 0), std::memory_order_relaxed);
  }
  std::atomic<uint32_t> writes_{0};     // since the last flush
  std::atomic<uint32_t> waited_{kOne};  // share of flushes that came after few writes
};

}  // namespace forerun::iosched
