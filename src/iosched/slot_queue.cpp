#include "iosched/slot_queue.h"

#include <algorithm>

namespace forerun::iosched {

void SlotQueue::set_share(VmId vm, const Share& share, Time now) {
  shares_.set(vm, share);
  for (FairQueue& queue : queues_) queue.on_share(vm, now);
}

void SlotQueue::forget(VmId vm, Time now) {
  shares_.forget(vm);
  light_.forget(vm);
  for (FairQueue& queue : queues_) queue.on_share(vm, now);
}

void SlotQueue::push(const Request& request, uint64_t rated_bytes, Time now) {
  if (request.io_class == IoClass::kCritical) light_.arrive(request.vm, now);
  queues_[static_cast<size_t>(request.io_class)].push(
      request.vm, {kTimeZero, sequence_++, request.key, request.bytes, rated_bytes}, now);
}

void SlotQueue::on_end(VmId vm, IoClass io_class, Time now) {
  if (io_class == IoClass::kCritical) light_.finish(vm, now);
}

Request SlotQueue::take(size_t index, const FairQueue::Next& next, Time now) {
  queues_[index].take(next, now);
  if (index == 0) light_.start(next.vm);
  const auto bytes = static_cast<double>(next.place.bytes);
  owed_bytes_[index] = std::max(0.0, owed_bytes_[index] - bytes);
  for (size_t lower = index + 1; lower < kIoClassCount; ++lower)
    owed_bytes_[lower] =
        queues_[lower].is_empty() ? 0 : owed_bytes_[lower] + bytes * options_.floor_ratio[lower];
  return {next.place.key, static_cast<IoClass>(index), next.vm,
          static_cast<uint32_t>(next.place.bytes), kTimeZero};
}

std::optional<Request> SlotQueue::choose(uint32_t used, uint32_t used_below, Time now) {
  if (used >= options_.places) return std::nullopt;
  const uint32_t kept_for_light = kept(now);
  if (used - std::min(used, light_.started()) >= options_.places - kept_for_light) {
    const auto next = queues_[0].peek_ahead(now, [this](VmId vm) { return light_.is_light(vm); });
    return next ? std::optional(take(0, *next, now)) : std::nullopt;
  }
  const uint32_t kept_for_critical =
      std::min(std::max(kept_for_light, critical_.get(now)), options_.places_kept_max);
  const bool has_place_below = used_below < options_.places - kept_for_critical;
  for (size_t i = kIoClassCount; i-- > 1 && has_place_below;)
    if (const auto next = queues_[i].peek(now); next && owed_bytes_[i] >= next->place.bytes)
      return take(i, *next, now);
  for (size_t i = 0; i < kIoClassCount; ++i) {
    if (i > 0 && !has_place_below) break;
    if (const auto next = queues_[i].peek(now)) return take(i, *next, now);
  }
  return std::nullopt;
}

std::optional<Request> SlotQueue::pull(uint32_t used, uint32_t used_below, Time now) {
  critical_.note(static_cast<uint32_t>(used - used_below + queues_[0].size()), now);
  auto chosen = choose(used, used_below, now);
  if (!chosen) {
    waiting_.note(static_cast<uint32_t>(size()), now);
    waiting_below_.note(static_cast<uint32_t>(size_below()), now);
  }
  return chosen;
}

Time SlotQueue::released_at(Time now) {
  Time at = kTimeNever;
  for (FairQueue& queue : queues_) at = std::min(at, queue.released_at(now));
  return at;
}

}  // namespace forerun::iosched
