#include "disk/pull_queue.h"

#include <algorithm>

#include "core/result.h"

namespace forerun::disk {

using iosched::IoClass;

PullQueue::PullQueue(Options options, const Overlay& overlay, uint64_t size_bytes)
    : options_(options),
      overlay_(overlay),
      size_bytes_(size_bytes),
      scheduler_(options.scheduler) {}

uint64_t PullQueue::piece_bytes() const {
  const double rate = scheduler_.link().rate_bytes_per_s;
  const auto fitting = static_cast<uint64_t>(rate * to_seconds(options_.piece_time));
  return round_down(std::clamp(fitting, options_.piece_bytes_min, options_.piece_bytes_max),
                    kOverlayBlockSize);
}

void PullQueue::push(Wanted wanted, Time now) {
  const uint64_t key = next_key_++;
  const uint64_t bytes = std::min(wanted.range.length, options_.piece_bytes_max);
  // It has room: prefetches are bounded here, and guests by their number of requests.
  const bool has_room = scheduler_.push({.key = key,
                                         .io_class = wanted.io_class,
                                         .vm = options_.vm,
                                         .bytes = static_cast<uint32_t>(bytes),
                                         .due = now},
                                        now);
  FR_ASSERT(has_room);
  prefetches_ += wanted.io_class == IoClass::kPrefetch ? 1 : 0;
  wanted_.emplace(key, wanted);
}

bool PullQueue::want(ByteRange range, IoClass io_class, Time now) {
  FR_ASSERT(io_class != IoClass::kBackground);
  if (io_class == IoClass::kPrefetch && prefetches_ >= options_.wanted_max) return false;
  range = intersect(range, {0, size_bytes_});
  if (overlay_.next_remote(range).empty()) return true;
  if (io_class == IoClass::kCritical) {
    auto flight = flights_.upper_bound(range.offset);
    if (flight != flights_.begin()) --flight;
    for (; flight != flights_.end() && flight->first < range.end(); ++flight) {
      if (flight->second.range.end() <= range.offset) continue;
      scheduler_.promote(flight->second.key, io_class, options_.vm, now);
      flight->second.io_class = io_class;
    }
    sweep_ = range.end();  // what is beside it is likelier than what is far away
  }
  push({range, io_class}, now);
  return true;
}

ByteRange PullQueue::first_missing(ByteRange range, uint64_t length_max) const {
  while (!range.empty()) {
    ByteRange found = overlay_.next_remote(range);
    if (found.empty()) return {};
    const auto behind = flights_.upper_bound(found.offset);
    if (behind != flights_.begin()) {
      const uint64_t flight_end = std::prev(behind)->second.range.end();
      if (flight_end > found.offset) {
        const uint64_t from = std::min(flight_end, range.end());
        range = {from, range.end() - from};
        continue;
      }
    }
    if (behind != flights_.end())
      found.length = std::min(found.length, behind->first - found.offset);
    found.length = std::min(found.length, length_max);
    return found;
  }
  return {};
}

ByteRange PullQueue::next_background() {
  if (sweep_ >= size_bytes_) sweep_ = 0;
  const uint64_t length_max = piece_bytes();
  ByteRange found = first_missing({sweep_, size_bytes_ - sweep_}, length_max);
  if (found.empty()) found = first_missing({0, sweep_}, length_max);
  if (!found.empty()) sweep_ = found.end();
  return found;
}

std::optional<PullTask> PullQueue::pull(Time now) {
  if (options_.has_background && !is_background_queued_ && overlay_.remote_blocks() > 0) {
    push({{0, piece_bytes()}, IoClass::kBackground}, now);
    is_background_queued_ = true;
  }
  if (now < retry_at_) return std::nullopt;
  while (const auto request = scheduler_.pull(now)) {
    const auto entry = wanted_.extract(request->key);
    const Wanted& wanted = entry.mapped();
    const bool is_background = wanted.io_class == IoClass::kBackground;
    if (is_background) is_background_queued_ = false;
    if (wanted.io_class == IoClass::kPrefetch) --prefetches_;
    const uint64_t length_max =
        wanted.io_class == IoClass::kCritical ? options_.piece_bytes_max : piece_bytes();
    const ByteRange range =
        is_background ? next_background() : first_missing(wanted.range, length_max);
    if (range.empty()) {
      scheduler_.on_complete(request->key, 0, now);
      continue;
    }
    if (!is_background && range.end() < wanted.range.end())
      push({{range.end(), wanted.range.end() - range.end()}, wanted.io_class}, now);
    flights_.emplace(range.offset, Flight{range, request->key, wanted.io_class});
    return PullTask{request->key, range, wanted.io_class};
  }
  return std::nullopt;
}

Time PullQueue::ready_at(Time now) const { return std::max(scheduler_.ready_at(now), retry_at_); }

void PullQueue::on_complete(const PullTask& task, bool has_arrived, Time now) {
  const auto flight = flights_.find(task.range.offset);
  FR_ASSERT(flight != flights_.end() && flight->second.key == task.key);
  const IoClass io_class = flight->second.io_class;
  flights_.erase(flight);
  scheduler_.on_complete(task.key, has_arrived ? task.range.length : 0, now);
  if (has_arrived) {
    retry_delay_ = Nanos{0};
    return;
  }
  // What nobody waits for is found by the background again.
  if (io_class == IoClass::kCritical) push({task.range, io_class}, now);
  if (now < retry_at_) return;  // one of several that failed together
  retry_delay_ = std::clamp(retry_delay_ * 2, options_.retry_first, options_.retry_max);
  retry_at_ = now + retry_delay_;
}

}  // namespace forerun::disk
