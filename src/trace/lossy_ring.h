// From threads that serve guests to one that looks at what they did: a bounded queue of many
// producers and one consumer, which loses rather than waits.
//
// SOURCE: Dmitry Vyukov, "Bounded MPMC queue" (1024cores.net), restricted to one consumer, so that
// its position needs no atomic. Each cell carries the turn at which it may be written or read next.
// A push is one compare-and-swap and one store in a cell of its own cache line.
//
// Not lock-free in the strict sense: a producer that is descheduled between claiming and filling
// its cell hides the items behind it from the consumer until it runs again. No producer ever waits
// for another.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <span>

namespace forerun::trace {

// push, dropped: any thread. drain: one thread at a time.
template <typename Item>
class LossyRing {
 public:
  static constexpr size_t kCapacityMax = size_t{1} << 20;

  // Holds `capacity` items, rounded up to a power of two, at least 2 and at most kCapacityMax.
  explicit LossyRing(size_t capacity)
      : mask_(std::bit_ceil(std::clamp<size_t>(capacity, 2, kCapacityMax)) - 1),
        cells_(std::make_unique<Cell[]>(mask_ + 1)) {
    for (size_t i = 0; i <= mask_; ++i) cells_[i].turn.store(i, std::memory_order_relaxed);
  }
  LossyRing(const LossyRing&) = delete;
  LossyRing& operator=(const LossyRing&) = delete;

  // Returns false, and counts, if the ring is full: the item is lost.
  bool push(const Item& item) noexcept {
    uint64_t turn = next_push_.load(std::memory_order_relaxed);
    for (;;) {
      Cell& cell = cells_[turn & mask_];
      const uint64_t ready_at = cell.turn.load(std::memory_order_acquire);
      if (ready_at == turn) {
        if (next_push_.compare_exchange_weak(turn, turn + 1, std::memory_order_relaxed)) {
          cell.item = item;
          cell.turn.store(turn + 1, std::memory_order_release);
          return true;
        }
      } else if (ready_at < turn) {  // still holds an item of one round ago
        dropped_.fetch_add(1, std::memory_order_relaxed);
        return false;
      } else {  // another producer was faster
        turn = next_push_.load(std::memory_order_relaxed);
      }
    }
  }

  // Moves up to out.size() items, oldest first, to `out`. Returns how many.
  size_t drain(std::span<Item> out) noexcept {
    size_t count = 0;
    while (count < out.size()) {
      Cell& cell = cells_[next_drain_ & mask_];
      if (cell.turn.load(std::memory_order_acquire) != next_drain_ + 1) break;
      out[count++] = cell.item;
      cell.turn.store(next_drain_ + mask_ + 1, std::memory_order_release);
      ++next_drain_;
    }
    return count;
  }

  // Returns how many items were lost since the start.
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }
  size_t capacity() const { return mask_ + 1; }

 private:
  static constexpr size_t kLine = 64;
  struct alignas(kLine) Cell {
    std::atomic<uint64_t> turn;
    Item item;
  };
  static_assert(sizeof(Cell) == kLine, "neighbouring producers must not share a cache line");

  const size_t mask_;
  const std::unique_ptr<Cell[]> cells_;
  alignas(kLine) std::atomic<uint64_t> next_push_{0};
  alignas(kLine) std::atomic<uint64_t> dropped_{0};
  alignas(kLine) uint64_t next_drain_ = 0;  // the consumer's own
};

}  // namespace forerun::trace
