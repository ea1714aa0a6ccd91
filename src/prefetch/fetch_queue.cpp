#include "prefetch/fetch_queue.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "core/log.h"

namespace forerun::prefetch {

using iosched::IoClass;
using iosched::Request;
using iosched::Scheduler;

namespace {

enum class Standing : uint8_t { kQueued, kInFlight, kWaitsForRetry };

struct Fetch {
  repository::ChunkRef chunk;
  IoClass asked_as = IoClass::kCritical;
  IoClass io_class = IoClass::kCritical;
  VmId vm{};
  Time due{};
  Standing standing = Standing::kQueued;
  uint32_t source = 0;
  std::vector<uint32_t> refusals;  // of each source: answers without the right chunk
  uint64_t fetched_bytes = 0;
  uint32_t silences = 0;  // attempts without an answer, in a row
  Time first_silence{};
  std::multimap<Time, uint64_t>::iterator retry;
};

// Returns whether asking again may help without anything being repaired.
bool is_silence(ErrorCode code) {
  return code == ErrorCode::kUnavailable || code == ErrorCode::kTimedOut || code == ErrorCode::kIo;
}

}  // namespace

struct FetchQueue::Impl {
  explicit Impl(FetchQueueOptions with) : options(std::move(with)) {
    FR_ASSERT(options.source_count > 0);
    for (uint32_t i = 0; i < options.source_count; ++i)
      schedulers.push_back(std::make_unique<Scheduler>(options.scheduler));
  }

  FetchQueueOptions options;
  std::vector<std::unique_ptr<Scheduler>> schedulers;
  std::unordered_map<uint64_t, Fetch> fetches;
  std::unordered_map<ChunkId, uint64_t> keys;
  std::multimap<Time, uint64_t> retries;
  uint64_t next_key = 1;

  bool enqueue(uint64_t key, Fetch& fetch, Time now) {
    fetch.standing = Standing::kQueued;
    return schedulers[fetch.source]->push(
        Request{key, fetch.io_class, fetch.vm, fetch.chunk.stored_size, fetch.due}, now);
  }

  void forget(uint64_t key) {
    const auto found = fetches.find(key);
    keys.erase(found->second.chunk.id);
    fetches.erase(found);
  }

  FetchEnd end(uint64_t key, Result<repository::ChunkPtr> outcome) {
    const Fetch& fetch = fetches.at(key);
    FetchEnd ended{fetch.chunk,    std::move(outcome), fetch.asked_as,
                   fetch.io_class, fetch.vm,           fetch.fetched_bytes};
    forget(key);
    return ended;
  }

  // Moves on to the next source that may still have the chunk. Returns false if there is none.
  bool choose_next_source(Fetch& fetch) const {
    for (uint32_t step = 1; step <= options.source_count; ++step) {
      const uint32_t candidate = (fetch.source + step) % options.source_count;
      if (fetch.refusals[candidate] >= options.rounds_max) continue;
      fetch.source = candidate;
      return true;
    }
    return false;
  }

  // The source has no right copy. Returns the end, or nothing if another attempt follows.
  std::optional<FetchEnd> refused(uint64_t key, Fetch& fetch, const Error& error, Time now) {
    const bool is_again = ++fetch.refusals[fetch.source] > 1;
    log::warn("chunk {}: source {} refused: {}", fetch.chunk.id.hex(), fetch.source, error.message);
    if (!choose_next_source(fetch)) {
      log::error("chunk {} is lost: no source has it: {}", fetch.chunk.id.hex(), error.message);
      return end(key, std::unexpected(Error{error.code,
                                            fmt::format("no source has chunk {}: {}",
                                                        fetch.chunk.id.hex(), error.message),
                                            error.errno_value}));
    }
    const bool all_refused = fetch.refusals[fetch.source] > 0;
    wait_for_retry(key, fetch, now + (is_again || all_refused ? options.retry_first : 0ns));
    return std::nullopt;
  }

  std::optional<FetchEnd> silent(uint64_t key, Fetch& fetch, const Error& error, Time now) {
    if (fetch.silences == 0) fetch.first_silence = now;
    ++fetch.silences;
    const bool is_critical = fetch.io_class == IoClass::kCritical;
    if (!is_critical || now - fetch.first_silence >= options.unavailable_max) {
      if (is_critical) log::error("chunk {}: given up: {}", fetch.chunk.id.hex(), error.message);
      return end(key, std::unexpected(error));
    }
    if (fetch.silences == 1)
      log::warn("chunk {}: no answer, trying again: {}", fetch.chunk.id.hex(), error.message);
    const uint32_t doublings = std::min((fetch.silences - 1) / options.source_count, 16u);
    const bool try_other_first = fetch.silences < options.source_count;
    choose_next_source(fetch);  // this one has not refused for good, so there is one
    wait_for_retry(
        key, fetch,
        now + (try_other_first
                   ? 0ns
                   : std::min<Nanos>(options.retry_max, options.retry_first * (1 << doublings))));
    return std::nullopt;
  }

  void wait_for_retry(uint64_t key, Fetch& fetch, Time at) {
    fetch.standing = Standing::kWaitsForRetry;
    fetch.retry = retries.emplace(at, key);
  }
};

FetchQueue::FetchQueue(FetchQueueOptions options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}
FetchQueue::~FetchQueue() = default;

Wanted FetchQueue::want(const repository::ChunkRef& chunk, IoClass io_class, VmId vm, Time due,
                        Time now) {
  FR_ASSERT(!chunk.is_zero(), "a chunk of zeroes is not fetched");
  if (const auto found = impl_->keys.find(chunk.id); found != impl_->keys.end()) {
    Fetch& fetch = impl_->fetches.at(found->second);
    if (io_class < fetch.io_class) {
      fetch.io_class = io_class;
      impl_->schedulers[fetch.source]->promote(found->second, io_class, vm, now);
    }
    return Wanted::kJoined;
  }
  const uint64_t key = impl_->next_key++;
  Fetch& fetch = impl_->fetches[key];
  fetch.chunk = chunk;
  fetch.refusals.resize(impl_->options.source_count);
  fetch.asked_as = fetch.io_class = io_class;
  if (impl_->options.first_source) {
    fetch.source = impl_->options.first_source(chunk);
    FR_ASSERT(fetch.source < impl_->options.source_count);
  }
  fetch.vm = vm;
  fetch.due = due;
  if (!impl_->enqueue(key, fetch, now)) {
    impl_->fetches.erase(key);
    return Wanted::kFull;
  }
  impl_->keys.emplace(chunk.id, key);
  return Wanted::kQueued;
}

bool FetchQueue::cancel(const ChunkId& id) {
  const auto found = impl_->keys.find(id);
  if (found == impl_->keys.end()) return false;
  const Fetch& fetch = impl_->fetches.at(found->second);
  if (fetch.io_class == IoClass::kCritical || fetch.standing != Standing::kQueued) return false;
  if (!impl_->schedulers[fetch.source]->cancel(found->second)) return false;
  impl_->forget(found->second);
  return true;
}

bool FetchQueue::is_pending(const ChunkId& id) const { return impl_->keys.contains(id); }

std::optional<FetchTask> FetchQueue::pull(uint32_t source, Time now) {
  const auto request = impl_->schedulers[source]->pull(now);
  if (!request) return std::nullopt;
  Fetch& fetch = impl_->fetches.at(request->key);
  fetch.standing = Standing::kInFlight;
  return FetchTask{request->key, fetch.chunk, source, fetch.io_class};
}

std::optional<FetchEnd> FetchQueue::on_complete(const FetchTask& task,
                                                Result<repository::ChunkPtr> outcome,
                                                uint64_t fetched_bytes, Time now) {
  Fetch& fetch = impl_->fetches.at(task.key);
  fetch.fetched_bytes += fetched_bytes;
  impl_->schedulers[task.source]->on_complete(task.key, outcome ? fetched_bytes : 0, now);
  if (outcome) {
    FR_ASSERT(*outcome != nullptr && (*outcome)->id == task.chunk.id,
              "a fetch brought another chunk");
    return impl_->end(task.key, std::move(outcome));
  }
  const Error error = outcome.error();
  return is_silence(error.code) ? impl_->silent(task.key, fetch, error, now)
                                : impl_->refused(task.key, fetch, error, now);
}

void FetchQueue::tick(Time now) {
  while (!impl_->retries.empty() && impl_->retries.begin()->first <= now) {
    const uint64_t key = impl_->retries.begin()->second;
    impl_->retries.erase(impl_->retries.begin());
    // A queue that is full of prefetches must not lose a guest's read: it comes back a little
    // later.
    if (Fetch& fetch = impl_->fetches.at(key); !impl_->enqueue(key, fetch, now))
      impl_->wait_for_retry(key, fetch, now + impl_->options.retry_first);
  }
}

Time FetchQueue::next_retry_at() const {
  return impl_->retries.empty() ? kTimeNever : impl_->retries.begin()->first;
}

Time FetchQueue::ready_at(uint32_t source, Time now) const {
  return std::min(next_retry_at(), impl_->schedulers.at(source)->ready_at(now));
}

void FetchQueue::set_share(VmId vm, const iosched::Share& share, Time now) {
  for (const auto& scheduler : impl_->schedulers) scheduler->set_share(vm, share, now);
}

void FetchQueue::forget_share(VmId vm, Time now) {
  for (const auto& scheduler : impl_->schedulers) scheduler->forget(vm, now);
}

const Scheduler& FetchQueue::scheduler(uint32_t source) const {
  return *impl_->schedulers.at(source);
}
size_t FetchQueue::pending_count() const { return impl_->fetches.size(); }

}  // namespace forerun::prefetch
