// What is to be fetched, from which source, and what came of it: one queue for demand and prefetch,
// so that a chunk is fetched once whoever wants it, and a prefetch that the guest catches up with
// becomes critical where it stands.
//
// A chunk that a source does not have, or has wrongly, is fetched from the next source, then once
// more from each, then given up with an error that names it. A source that does not answer is tried
// again and again: a guest waits for a link to heal, as it would for a slow disk; a prefetch does
// not.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/id.h"
#include "core/result.h"
#include "core/time.h"
#include "iosched/scheduler.h"
#include "repository/chunk.h"

namespace forerun::prefetch {

struct FetchQueueOptions {
  uint32_t source_count = 1;
  // Which source to ask first; empty: the first. REQUIRES: below source_count.
  std::function<uint32_t(const repository::ChunkRef&)> first_source;
  uint32_t rounds_max = 2;  // times that every source is asked for a chunk it lacks or has wrongly
  Nanos retry_first = 100ms;  // after a source did not answer; doubles
  Nanos retry_max = 5s;
  Nanos unavailable_max = 15min;  // then a critical fetch fails too
  iosched::SchedulerOptions scheduler;
};

// One fetch to make: ask `source` for `chunk`, decode it, call on_complete.
struct FetchTask {
  uint64_t key = 0;
  repository::ChunkRef chunk;
  uint32_t source = 0;
  iosched::IoClass io_class = iosched::IoClass::kCritical;
};

// A chunk that arrived or was given up.
struct FetchEnd {
  repository::ChunkRef ref;
  Result<repository::ChunkPtr> chunk;
  iosched::IoClass asked_as = iosched::IoClass::kCritical;  // the class it was first wanted in
  iosched::IoClass ended_as = iosched::IoClass::kCritical;  // the most urgent one since
  VmId vm{};                                                // who wanted it first
  uint64_t fetched_bytes = 0;  // in all attempts, with the bases of a delta
};

enum class Wanted : uint8_t {
  kQueued,
  kJoined,  // already queued or in flight; made more urgent if this is more urgent
  kFull,
};

// One thread (its owner holds a mutex around it).
class FetchQueue {
 public:
  explicit FetchQueue(FetchQueueOptions options);
  ~FetchQueue();

  // REQUIRES: !chunk.is_zero().
  Wanted want(const repository::ChunkRef& chunk, iosched::IoClass io_class, VmId vm, Time due,
              Time now);
  // Takes back a prefetch that is still queued. Returns false if it is unknown, in flight or
  // critical.
  bool cancel(const ChunkId& id);
  bool is_pending(const ChunkId& id) const;

  // Returns the next fetch to make from `source`, if any may go now.
  std::optional<FetchTask> pull(uint32_t source, Time now);
  // Takes what came of a task, and how many bytes came for it. Returns the end of the fetch, or
  // nothing if it will be tried again.
  std::optional<FetchEnd> on_complete(const FetchTask& task, Result<repository::ChunkPtr> outcome,
                                      uint64_t fetched_bytes, Time now);
  // The same, for a chunk that came as its reference says: as stored_size bytes.
  std::optional<FetchEnd> on_complete(const FetchTask& task, Result<repository::ChunkPtr> outcome,
                                      Time now) {
    const uint64_t bytes = outcome ? task.chunk.stored_size : 0;
    return on_complete(task, std::move(outcome), bytes, now);
  }
  // Puts retries whose time has come back into the queue. Call before pull; see ready_at().
  void tick(Time now);
  Time next_retry_at() const;  // kTimeNever if nothing waits
  // Returns when the clock alone gives pull(source) something; kTimeNever: it never does.
  Time ready_at(uint32_t source, Time now) const;
  // What the VM may have of each source from now on. REQUIRES: iosched::check(share).
  void set_share(VmId vm, const iosched::Share& share, Time now);
  void forget_share(VmId vm, Time now);

  const iosched::Scheduler& scheduler(uint32_t source) const;
  size_t pending_count() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace forerun::prefetch
