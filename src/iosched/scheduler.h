// One scheduler per contended resource (a link to a source): which request goes next, and whether
// now. Classes: critical before prefetch before background, each with a floor so that none starves;
// within a class fairly among VMs by weight, with what is reserved for a VM and its limit
// (fair_queue.h); within a VM by due time.
//
// A prefetch never delays a guest read: what is in flight below critical is kept within the link's
// measured bandwidth × delay product, so that a critical request that arrives waits for at most
// about one chunk. Nor does one guest fill the link before another's reads: while several have read
// lately, so much is in flight of critical requests too, and beyond it one of each VM.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "core/id.h"
#include "core/time.h"
#include "iosched/shares.h"

namespace forerun::iosched {

enum class IoClass : uint8_t { kCritical = 0, kPrefetch = 1, kBackground = 2 };
inline constexpr size_t kIoClassCount = 3;

struct Request {
  uint64_t key = 0;  // the caller's name for it, unique among those queued or in flight
  IoClass io_class = IoClass::kCritical;
  VmId vm{};
  uint32_t bytes = 0;  // expected on the resource
  Time due{};          // earlier goes first within a class and VM; not heeded if critical
};

enum class Discipline : uint8_t {
  kClasses,  // as described above
  kFifo,  // no classes, at most fifo_depth prefetches in flight: how trace-replay readahead works
          // elsewhere. The baseline that benchmarks compare with.
};

struct SchedulerOptions {
  Discipline discipline = Discipline::kClasses;
  uint32_t in_flight_max = 16;  // of all classes
  uint32_t fifo_depth = 8;
  double floor_ratio[kIoClassCount] = {0, 0.02,
                                       0.01};  // of bytes sent while a higher class is backlogged
  uint32_t queued_max = 1 << 20;
  // For one round trip in eight the window is larger by this, as BBR's is: requests of one length
  // that just fill it would otherwise never show that the link carries more. 0 where lengths vary.
  double probe_gain = 0;
};

// What was learned of the resource. SOURCE: BBR (Cardwell et al., 2016): windowed maximum of
// delivery rate, windowed minimum of round-trip time.
struct LinkEstimate {
  double rate_bytes_per_s = 0;  // 0: not known yet
  Nanos round_trip{0};
  uint64_t bandwidth_delay_bytes() const;
};

struct ClassStats {
  uint64_t queued = 0, in_flight = 0, in_flight_bytes = 0;
  uint64_t done = 0, done_bytes = 0, cancelled = 0, promoted = 0;
  double waited_seconds = 0;  // in the queue, summed
};

// One thread (its owner holds a mutex around it).
class Scheduler {
 public:
  explicit Scheduler(SchedulerOptions options);
  ~Scheduler();

  // What the VM may have from now on. REQUIRES: check(share).
  void set_share(VmId vm, const Share& share, Time now);
  // The VM is gone: it has what those have that nothing was said of.
  void forget(VmId vm, Time now);
  // Returns false if the queue is full (queued_max).
  bool push(const Request& request, Time now);
  // Raises a queued or in-flight request to a more urgent class, of the VM that wants it so; a
  // request in flight is only re-counted.
  void promote(uint64_t key, IoClass io_class, VmId vm, Time now);
  // Takes a queued request back. Returns false if it is in flight or unknown.
  bool cancel(uint64_t key);
  // Returns the next request to send, now in flight, or nothing: empty, or the window is full.
  std::optional<Request> pull(Time now);
  // What was pulled turns out to be of another length. REQUIRES: it is in flight.
  void resize(uint64_t key, uint32_t bytes);
  // Returns when a pull would give something: now; later, if all who wait are at their limits;
  // kTimeNever: not before a push or an on_complete.
  Time ready_at(Time now) const;
  bool is_ready(Time now) const { return ready_at(now) <= now; }
  // The request came back (or failed: `received_bytes` 0 teaches nothing).
  void on_complete(uint64_t key, uint64_t received_bytes, Time now);

  LinkEstimate link() const;
  const ClassStats& stats(IoClass io_class) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace forerun::iosched
