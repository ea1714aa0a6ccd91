#include "trace/access_ring.h"

#include <algorithm>
#include <bit>

namespace forerun::trace {

AccessRing::AccessRing(size_t capacity)
    : mask_(std::bit_ceil(std::clamp<size_t>(capacity, 2, kCapacityMax)) - 1),
      cells_(std::make_unique<Cell[]>(mask_ + 1)) {
  for (size_t i = 0; i <= mask_; ++i) cells_[i].turn.store(i, std::memory_order_relaxed);
}

size_t AccessRing::drain(std::span<Access> out) noexcept {
  size_t count = 0;
  while (count < out.size()) {
    Cell& cell = cells_[next_drain_ & mask_];
    if (cell.turn.load(std::memory_order_acquire) != next_drain_ + 1) break;
    out[count++] = cell.access;
    cell.turn.store(next_drain_ + mask_ + 1, std::memory_order_release);
    ++next_drain_;
  }
  return count;
}

}  // namespace forerun::trace
