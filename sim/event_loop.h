// Virtual time: events in the order of (time, a tie drawn from the seed, sequence), run one after
// the other in one thread. A running hash over all events tells two runs apart.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string_view>
#include <tuple>

#include "core/rng.h"
#include "core/time.h"

namespace forerun::sim {

// What kind of event, for the hash and for --verbose.
enum class EventKind : uint32_t {
  kGuest = 1,
  kTick,
  kLink,
  kFault,
  kControl,
};

// One thread.
class EventLoop final : public Clock {
 public:
  using Action = std::function<void()>;

  // Names an event that has not run, so that it can be cancelled.
  struct Ticket {
    Time at{};
    uint64_t tie = 0;
    uint64_t sequence = 0;
    auto operator<=>(const Ticket&) const = default;
  };

  explicit EventLoop(uint64_t seed) : rng_(seed) {}

  Time now() const override { return now_; }
  Ticket after(Nanos delay, EventKind kind, uint64_t id, Action action);
  // Forgets an event. One that has run is no error.
  void cancel(const Ticket& ticket) { events_.erase(ticket); }

  // Runs the next event. Returns false if there is none at or before `until`; the time is then
  // `until`.
  bool run_one(Time until);
  // Mixes something observed into the hash, so that runs that differ only in results differ too.
  void note(uint64_t value) { mix(value); }

  uint64_t hash() const { return hash_; }
  uint64_t events_run() const { return events_run_; }
  size_t pending() const { return events_.size(); }

 private:
  struct Event {
    EventKind kind{};
    uint64_t id = 0;
    Action action;
  };
  void mix(uint64_t value);

  Rng rng_;
  Time now_ = kTimeZero;
  std::map<Ticket, Event> events_;
  uint64_t sequence_ = 0;
  uint64_t events_run_ = 0;
  uint64_t hash_ = 0xcbf29ce484222325;  // FNV-1a, 64 bits
};

}  // namespace forerun::sim
