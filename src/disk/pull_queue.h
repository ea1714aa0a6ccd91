// Which remote blocks of a pulled overlay go over the link next: those that a guest waits for, then
// foreseen ones, the sooner due first, then all others: ahead of where the guest reads on, else
// from where it waited last. One scheduler does it, so what is in flight below critical never
// exceeds the link's bandwidth × delay.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include "core/time.h"
#include "disk/overlay.h"
#include "iosched/scheduler.h"

namespace forerun::disk {

// One piece to fetch: whole blocks that are remote, and in no other task.
struct PullTask {
  uint64_t key = 0;
  ByteRange range;
  iosched::IoClass io_class = iosched::IoClass::kBackground;
};

// One thread (its owner holds a mutex around it).
class PullQueue {
 public:
  struct Options {
    // Of a piece of what nobody waits for: as much as the link carries in piece_time, so that who
    // then waits does not wait long for it, but no less than an eighth of what is under way at
    // once; within these bounds. A guest's piece is as long as it asked for, up to the upper one.
    uint64_t piece_bytes_min = 16 * kKiB, piece_bytes_max = 256 * kKiB;
    Nanos piece_time = 500us;
    bool has_background = true;  // false: only what is wanted comes
    size_t wanted_max = 1024;    // foreseen ranges that wait; more are refused
    Nanos retry_first = 50ms;    // after a piece did not come; doubles while none does
    Nanos retry_max = 1s;
    VmId vm{};
    iosched::SchedulerOptions scheduler;
  };
  // `overlay` outlives this.
  PullQueue(Options options, const Overlay& overlay, uint64_t size_bytes);

  // What of the range is remote is wanted: kCritical or kPrefetch. Returns false if there is no
  // room. REQUIRES: whole blocks.
  bool want(ByteRange range, iosched::IoClass io_class, Time now);
  // The range is likely to be wanted, but nobody knows when: it comes after what is foreseen to be
  // wanted next, and has a quarter of the room.
  bool want_sometime(ByteRange range, Time now);
  // The guest asked for this, be it here or not: where it reads on, the background goes ahead.
  void follow(ByteRange range);
  // Returns the next piece to fetch, if one may go now.
  std::optional<PullTask> pull(Time now);
  // A piece was put into the overlay, or it could not be had: then it is tried again, and nothing
  // else goes for a while.
  void on_complete(const PullTask& task, bool has_arrived, Time now);
  // Returns when a pull that gave nothing may give something; kTimeNever: not before a want(), an
  // on_complete(), or before blocks are remote that were not.
  Time ready_at(Time now) const;
  size_t in_flight() const { return flights_.size(); }

  iosched::LinkEstimate link() const { return scheduler_.link(); }
  const iosched::ClassStats& stats(iosched::IoClass io_class) const {
    return scheduler_.stats(io_class);
  }

 private:
  struct Wanted {
    ByteRange range;
    iosched::IoClass io_class = iosched::IoClass::kBackground;
    Time due{};
  };
  // Requests each of which begins near where the one before it ended.
  struct Stream {
    uint64_t at = 0;    // where the last one ended
    uint64_t seen = 0;  // when, as a count of requests
    uint32_t follows = 0;
  };
  struct Flight {
    ByteRange range;
    uint64_t key = 0;
    iosched::IoClass io_class = iosched::IoClass::kBackground;
  };
  void push(Wanted wanted, Time now);
  // Returns the first blocks of `range` that are remote and in no task.
  ByteRange first_missing(ByteRange range, uint64_t length_max) const;
  ByteRange next_background();
  // Returns what of a foreseen range goes as one piece: with those that stand behind it.
  ByteRange next_foreseen(const ByteRange& wanted) const;
  ByteRange next_of_streams(uint64_t length_max) const;
  bool foresee(ByteRange range, size_t queued_max, Time due, Time now);
  uint64_t piece_bytes() const;

  const Options options_;
  const Overlay& overlay_;
  const uint64_t size_bytes_;
  iosched::Scheduler scheduler_;
  std::unordered_map<uint64_t, Wanted> wanted_;       // queued, by key
  std::set<std::pair<uint64_t, uint64_t>> foreseen_;  // of them: where each begins, and its key
  std::map<uint64_t, Flight> flights_;                // by offset
  uint64_t next_key_ = 1;
  uint64_t sweep_ = 0;  // where the background goes on
  std::array<Stream, 8> streams_{};
  uint64_t followed_ = 0;  // requests
  bool is_background_queued_ = false;
  Time retry_at_ = kTimeZero;
  Nanos retry_delay_{0};
};

}  // namespace forerun::disk
