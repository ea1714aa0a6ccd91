#include "lane.h"

#include <algorithm>
#include <utility>

namespace forerun::link {

namespace {

constexpr size_t kPacketBytes = 1448;

Nanos serialisation(uint64_t bytes, uint64_t rate_bytes_per_s) {
  if (rate_bytes_per_s == 0) return Nanos{0};
  return from_seconds(static_cast<double>(bytes) / static_cast<double>(rate_bytes_per_s));
}

}  // namespace

uint64_t Lane::queued_bytes(Time now) const {
  if (free_at_ <= now) return 0;
  const double rate = static_cast<double>(settings_.rate_bytes_per_s);
  return static_cast<uint64_t>(to_seconds(free_at_ - now) * rate);
}

Time Lane::admits_at(Time now) const {
  if (admits(now)) return now;
  // A microsecond later, so that rounding never leaves it one byte too early.
  const Time at = free_at_ - serialisation(kQueueBytesMax, settings_.rate_bytes_per_s) + 1us;
  return std::max(at, now + 1us);
}

size_t Lane::quantum() const {
  constexpr size_t kMax = 64 * kKiB;
  if (settings_.rate_bytes_per_s == 0) return kMax;
  return std::clamp<size_t>(settings_.rate_bytes_per_s / 1000, kPacketBytes, kMax);
}

void Lane::push(uint64_t connection, Buffer data, bool is_end, Time now) {
  const Time leaves =
      std::max(free_at_, now) + serialisation(data.size(), settings_.rate_bytes_per_s);
  free_at_ = leaves;
  last_due_ = std::max(last_due_, leaves + settings_.delay);
  segments_.push_back({connection, std::move(data), is_end, last_due_});
}

std::optional<Segment> Lane::pop_due(Time now) {
  if (segments_.empty() || segments_.front().due > now) return std::nullopt;
  Segment segment = std::move(segments_.front());
  segments_.pop_front();
  return segment;
}

}  // namespace forerun::link
