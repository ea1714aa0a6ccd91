#include "disk/pull_queue.h"

#include <algorithm>

#include "core/result.h"

namespace forerun::disk {

using iosched::IoClass;

namespace {

// A stream goes on if it skips no more than this; readers of files skip other files' blocks.
constexpr uint64_t kSkipMax = 128 * kKiB;
// So far the background goes ahead of a stream before it turns to others: more than a guest reads
// within a round trip, less than would keep others waiting.
constexpr uint64_t kAheadBytes = 8 * kMiB;
constexpr uint32_t kFollowsMin = 2;        // … of which fewer are chance
constexpr uint64_t kForgottenAfter = 256;  // requests of others
// Behind all that is foreseen for a time.
constexpr Nanos kSometime = 60s;

}  // namespace

PullQueue::PullQueue(Options options, const Overlay& overlay, uint64_t size_bytes)
    : options_(options), overlay_(overlay), size_bytes_(size_bytes), scheduler_([&] {
        iosched::SchedulerOptions with = options.scheduler;
        with.probe_gain = 0.25;
        return with;
      }()) {}

uint64_t PullQueue::piece_bytes() const {
  const iosched::LinkEstimate link = scheduler_.link();
  const Nanos time = std::max(options_.piece_time, link.round_trip / 8);
  const auto fitting = static_cast<uint64_t>(link.rate_bytes_per_s * to_seconds(time));
  return round_down(std::clamp(fitting, options_.piece_bytes_min, options_.piece_bytes_max),
                    kOverlayBlockSize);
}

void PullQueue::push(Wanted wanted, Time now) {
  const uint64_t key = next_key_++;
  const uint64_t bytes =
      std::min(wanted.range.length,
               wanted.io_class == IoClass::kCritical ? options_.piece_bytes_max : piece_bytes());
  // It has room: prefetches are bounded here, and guests by their number of requests.
  const bool has_room = scheduler_.push({.key = key,
                                         .io_class = wanted.io_class,
                                         .vm = options_.vm,
                                         .bytes = static_cast<uint32_t>(bytes),
                                         .due = wanted.due},
                                        now);
  FR_ASSERT(has_room);
  if (wanted.io_class == IoClass::kPrefetch) foreseen_.emplace(wanted.range.offset, key);
  wanted_.emplace(key, wanted);
}

bool PullQueue::foresee(ByteRange range, size_t queued_max, Time due, Time now) {
  if (foreseen_.size() >= queued_max) return false;
  range = intersect(range, {0, size_bytes_});
  for (auto each = foreseen_.lower_bound({range.offset, 0});
       each != foreseen_.end() && each->first == range.offset; ++each) {
    const Wanted& queued = wanted_.at(each->second);
    if (queued.range.length >= range.length && queued.due <= due) return true;
  }
  if (!first_missing(range, range.length).empty()) push({range, IoClass::kPrefetch, due}, now);
  return true;
}

bool PullQueue::want_sometime(ByteRange range, Time now) {
  return foresee(range, options_.wanted_max / 4, now + kSometime, now);
}

bool PullQueue::want(ByteRange range, IoClass io_class, Time now) {
  FR_ASSERT(io_class != IoClass::kBackground);
  if (io_class == IoClass::kPrefetch) return foresee(range, options_.wanted_max, now, now);
  range = intersect(range, {0, size_bytes_});
  if (overlay_.next_remote(range).empty()) return true;
  auto flight = flights_.upper_bound(range.offset);
  if (flight != flights_.begin()) --flight;
  for (; flight != flights_.end() && flight->first < range.end(); ++flight) {
    if (flight->second.range.end() <= range.offset) continue;
    scheduler_.promote(flight->second.key, io_class, options_.vm, now);
    flight->second.io_class = io_class;
  }
  sweep_ = range.end();  // what is beside it is likelier than what is far away
  push({range, io_class, now}, now);
  return true;
}

void PullQueue::follow(ByteRange range) {
  ++followed_;
  Stream* oldest = streams_.data();
  for (Stream& stream : streams_) {
    if (stream.seen != 0 && range.offset >= stream.at && range.offset - stream.at <= kSkipMax) {
      stream = {range.end(), followed_, stream.follows + 1};
      return;
    }
    if (stream.seen < oldest->seen) oldest = &stream;
  }
  *oldest = {range.end(), followed_, 0};
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

// Small pieces fill a link only if very many are under way.
ByteRange PullQueue::next_foreseen(const ByteRange& wanted) const {
  const uint64_t length_max = piece_bytes();
  const ByteRange first = first_missing(wanted, length_max);
  if (first.empty()) return first;
  uint64_t end = wanted.end();
  for (auto each = foreseen_.lower_bound({first.offset, 0});
       each != foreseen_.end() && each->first <= end && end < first.offset + length_max; ++each)
    end = std::max(end, wanted_.at(each->second).range.end());
  return first_missing({first.offset, end - first.offset}, length_max);
}

// Of several streams that one's whose guest is nearest to what is missing.
ByteRange PullQueue::next_of_streams(uint64_t length_max) const {
  ByteRange nearest;
  uint64_t distance = kAheadBytes;
  for (const Stream& stream : streams_) {
    if (stream.follows < kFollowsMin || followed_ - stream.seen > kForgottenAfter) continue;
    const uint64_t at = round_down(stream.at, kOverlayBlockSize);
    const ByteRange found = first_missing(intersect({at, distance}, {0, size_bytes_}), length_max);
    if (found.empty()) continue;
    nearest = found;
    distance = found.offset - at;
  }
  return nearest;
}

ByteRange PullQueue::next_background() {
  const uint64_t length_max = piece_bytes();
  if (const ByteRange ahead = next_of_streams(length_max); !ahead.empty()) return ahead;
  if (sweep_ >= size_bytes_) sweep_ = 0;
  ByteRange found = first_missing({sweep_, size_bytes_ - sweep_}, length_max);
  if (found.empty()) found = first_missing({0, sweep_}, length_max);
  if (!found.empty()) sweep_ = found.end();
  return found;
}

std::optional<PullTask> PullQueue::pull(Time now) {
  if (options_.has_background && !is_background_queued_ && overlay_.remote_blocks() > 0) {
    push({{0, piece_bytes()}, IoClass::kBackground, now}, now);
    is_background_queued_ = true;
  }
  if (now < retry_at_) return std::nullopt;
  while (const auto request = scheduler_.pull(now)) {
    const auto entry = wanted_.extract(request->key);
    const Wanted& wanted = entry.mapped();
    const bool is_background = wanted.io_class == IoClass::kBackground;
    if (is_background) is_background_queued_ = false;
    const bool is_foreseen = wanted.io_class == IoClass::kPrefetch;
    if (is_foreseen) foreseen_.erase({wanted.range.offset, request->key});
    const ByteRange range = is_background ? next_background()
                            : is_foreseen ? next_foreseen(wanted.range)
                                          : first_missing(wanted.range, options_.piece_bytes_max);
    if (range.empty()) {
      scheduler_.on_complete(request->key, 0, now);
      continue;
    }
    if (!is_background && range.end() < wanted.range.end())
      push({{range.end(), wanted.range.end() - range.end()}, wanted.io_class, wanted.due}, now);
    scheduler_.resize(request->key, static_cast<uint32_t>(range.length));
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
  if (io_class == IoClass::kCritical) push({task.range, io_class, now}, now);
  if (now < retry_at_) return;  // one of several that failed together
  retry_delay_ = std::clamp(retry_delay_ * 2, options_.retry_first, options_.retry_max);
  retry_at_ = now + retry_delay_;
}

}  // namespace forerun::disk
