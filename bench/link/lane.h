// One direction of a slow link: a first-in, first-out bottleneck that every connection shares, then
// propagation. Pure: times are passed in.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "core/bytes.h"
#include "core/time.h"

namespace forerun::link {

struct LinkSettings {
  uint64_t rate_bytes_per_s = 0;  // 0: unlimited
  Nanos delay{};                  // one way
};

// What crosses the link: some bytes of one connection, or its orderly end.
struct Segment {
  uint64_t connection = 0;
  Buffer data;
  bool is_end = false;
  Time due = kTimeZero;
};

// One thread. A segment leaves the bottleneck when all earlier ones have, and arrives `delay`
// later.
class Lane {
 public:
  // The queue in front of the bottleneck. A router would drop what comes beyond it; a TCP proxy
  // must not, so it stops reading instead: admits() turns false.
  static constexpr uint64_t kQueueBytesMax = 64 * kKiB;

  explicit Lane(LinkSettings settings) : settings_(settings) {}

  // Segments that were pushed before keep their times, and order is kept.
  void change(LinkSettings settings) { settings_ = settings; }
  const LinkSettings& settings() const { return settings_; }

  // Returns the bytes that still wait in front of the bottleneck.
  uint64_t queued_bytes(Time now) const;
  bool admits(Time now) const { return queued_bytes(now) < kQueueBytesMax; }
  // Returns when admits() becomes true, if nothing is pushed before.
  Time admits_at(Time now) const;
  // Returns how much to read from one connection before it is the next one's turn: 1 ms of the
  // link, at least one packet, at most 64 KiB.
  size_t quantum() const;

  void push(uint64_t connection, Buffer data, bool is_end, Time now);
  std::optional<Segment> pop_due(Time now);
  Time next_due() const { return segments_.empty() ? kTimeNever : segments_.front().due; }

 private:
  LinkSettings settings_;
  std::deque<Segment> segments_;
  Time free_at_ = kTimeZero;
  Time last_due_ = kTimeZero;
};

}  // namespace forerun::link
