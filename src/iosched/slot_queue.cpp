#include "iosched/slot_queue.h"

#include <algorithm>

namespace forerun::iosched {

void SlotQueue::set_weight(VmId vm, double weight, Time now) {
  shares_.set(vm, {.weight = weight});
  for (FairQueue& queue : queues_) queue.on_share(vm, now);
}

void SlotQueue::forget(VmId vm, Time now) {
  shares_.forget(vm);
  for (FairQueue& queue : queues_) queue.on_share(vm, now);
}

void SlotQueue::push(const Request& request, Time now) {
  queues_[static_cast<size_t>(request.io_class)].push(
      request.vm, {kTimeZero, sequence_++, request.key, request.bytes}, now);
}

Request SlotQueue::take(size_t index, const FairQueue::Next& next, Time now) {
  queues_[index].take(next, now);
  const auto bytes = static_cast<double>(next.place.bytes);
  owed_bytes_[index] = std::max(0.0, owed_bytes_[index] - bytes);
  for (size_t lower = index + 1; lower < kIoClassCount; ++lower)
    owed_bytes_[lower] =
        queues_[lower].is_empty() ? 0 : owed_bytes_[lower] + bytes * options_.floor_ratio[lower];
  return {next.place.key, static_cast<IoClass>(index), next.vm,
          static_cast<uint32_t>(next.place.bytes), kTimeZero};
}

std::optional<Request> SlotQueue::pull(uint32_t used, uint32_t used_below, Time now) {
  if (used >= options_.places) return std::nullopt;
  const bool has_place_below = used_below < options_.places_below_critical;
  for (size_t i = kIoClassCount; i-- > 1 && has_place_below;)
    if (const auto next = queues_[i].peek(now); next && owed_bytes_[i] >= next->place.bytes)
      return take(i, *next, now);
  for (size_t i = 0; i < kIoClassCount; ++i) {
    if (i > 0 && !has_place_below) break;
    if (const auto next = queues_[i].peek(now)) return take(i, *next, now);
  }
  return std::nullopt;
}

}  // namespace forerun::iosched
