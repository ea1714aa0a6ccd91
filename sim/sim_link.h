// The link between a host and one repository, in virtual time: a rate shared by all requests, delay
// and jitter, losses, partitions, and answers that are not what was stored.
//
// The path is one bottleneck: a request travels half the round trip, its answer waits for those
// before it, then takes size / rate, then the other half. A lost request is one whose connection
// breaks or that never answers, as a client over TCP sees losses.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "core/result.h"
#include "core/rng.h"
#include "core/time.h"
#include "repository/memory_store.h"
#include "sim/event_loop.h"

namespace forerun::sim {

struct LinkOptions {
  double rate_bytes_per_s = 12.5e6;
  Nanos round_trip = 5ms;
  Nanos jitter = 1ms;  // uniform in [0, jitter], on top
  Nanos timeout = 10s;
  // Probabilities of one request.
  double broken = 0;     // its connection breaks on the way
  double silent = 0;     // it never answers
  double missing = 0;    // there is no such object, it says
  double flipped = 0;    // one bit of the answer is wrong
  double truncated = 0;  // the answer ends early
  double swapped = 0;    // the answer is another object
};

struct LinkStats {
  uint64_t requests = 0, answers = 0, bytes = 0;
  uint64_t errors = 0, corrupted = 0;
  uint64_t outstanding = 0;
};

// One thread. `objects` outlives the link.
class SimLink {
 public:
  using Done = std::function<void(Result<Buffer>)>;

  SimLink(uint64_t seed, EventLoop& loop, repository::MemoryStore& objects, LinkOptions options);

  // Asks for the object at `path`; `done` hears of it in a later event, exactly once, unless the
  // request is forgotten.
  void fetch(const std::string& path, size_t size_max, Done done);
  // Cuts the link: what is under way times out, and so does what is asked from now on.
  void part();
  void heal() { is_parted_ = false; }
  bool is_parted() const { return is_parted_; }
  // The host lost its power: nobody hears of what is under way.
  void forget();

  LinkOptions& options() { return options_; }
  const LinkStats& stats() const { return stats_; }

 private:
  struct Request {
    EventLoop::Ticket ticket;
    std::string path;
    Time asked_at{};
    Done done;
  };
  void finish(uint64_t id, Result<Buffer> answer);
  void answer_after(uint64_t id, Nanos delay, Result<Buffer> answer);
  Result<Buffer> take_from_store(const std::string& path, size_t size_max);
  void corrupt(Buffer& answer);

  Rng rng_;
  EventLoop& loop_;
  repository::MemoryStore& objects_;
  LinkOptions options_;
  LinkStats stats_;
  bool is_parted_ = false;
  Time free_at_ = kTimeZero;  // when the bottleneck has sent everything asked for so far
  uint64_t next_id_ = 1;
  std::map<uint64_t, Request> requests_;
};

}  // namespace forerun::sim
