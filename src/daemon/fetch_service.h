// The fetch queue on threads: a pool per repository makes the fetches that the queue hands out,
// verifies what comes, puts it into the tier, and wakes who waits.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <thread>
#include <unordered_map>
#include <vector>

#include "core/result.h"
#include "core/time.h"
#include "daemon/basis_fetcher.h"
#include "prefetch/fetch_queue.h"
#include "repository/source.h"
#include "tier/tier.h"

namespace forerun::daemon {

// Thread-safe.
class FetchService {
 public:
  struct Options {
    uint32_t threads_per_source = 16;
    prefetch::FetchQueueOptions queue;  // source_count and first_source are set from `sources`
    // One of the sources that is on this host and quickly says what it has; others are asked first
    // only for the rest. Null: the first is always asked first.
    repository::Store* local = nullptr;
    // VMs that were abandoned and are remembered. Ids only grow, and no read outlives its VM for
    // long, so the lowest are forgotten first.
    size_t abandoned_vms_max = 1024;
  };
  using OnEnd = std::function<void(const prefetch::FetchEnd&)>;

  // `sources`: in the order in which they are tried. `on_end` hears of every fetch that ended,
  // without any lock held.
  FetchService(Options options, const Clock& clock, tier::Tier& tier,
               std::vector<repository::Source*> sources, OnEnd on_end);
  // Waiting callers get kUnavailable; fetches under way are waited for.
  ~FetchService();

  // Fetches all of `chunks`, ahead of every prefetch, and returns them in order once all have come.
  // ERRORS: what befell the first that failed.
  Result<std::vector<repository::ChunkPtr>> get(std::span<const repository::ChunkRef> chunks,
                                                VmId vm);
  // Queues a prefetch. Returns false if there is no room.
  bool prefetch(const repository::ChunkRef& chunk, VmId vm, Time due);
  // Queues a fetch that no running VM asked for, behind all that VMs did. Returns false if there is
  // no room.
  bool fetch_in_background(const repository::ChunkRef& chunk, Time due);
  bool cancel(const ChunkId& id);
  // What is fetched for this VM, it holds in the tier. Until abandon().
  // What the VM may have of each link from now on, until it is abandoned.
  // REQUIRES: iosched::check(share).
  void set_share(VmId vm, const iosched::Share& share);
  void set_reader(VmId vm, tier::Reader reader);
  // Ends the waits for this VM with kUnavailable, now and from now on: its guest is gone.
  void abandon(VmId vm);
  // Ends the waits of every caller with kUnavailable, now and from now on.
  void stop();

  struct SourceReading {
    std::string_view name;  // of the source
    iosched::LinkEstimate link;
    iosched::ClassStats classes[iosched::kIoClassCount];
  };
  // Of the link that is worth measuring: to the first source that is not local, if there is one.
  SourceReading read_link() const;

 private:
  struct Wait;
  // Returns for whom the chunk was fetched: who waits for it, or who wanted it first. REQUIRES: the
  // mutex is held.
  tier::Reader reader_of(const prefetch::FetchEnd& end) const;
  void work(uint32_t source);
  void wake();
  void deliver(const prefetch::FetchEnd& end);  // with the mutex held

  Options options_;
  const Clock& clock_;
  tier::Tier& tier_;
  std::vector<repository::Source*> sources_;
  BasisFetcher bases_;
  const uint32_t link_source_;
  OnEnd on_end_;

  mutable std::mutex mutex_;  // guards all below but threads_; never held across a fetch
  std::condition_variable work_changed_;
  prefetch::FetchQueue queue_;
  std::unordered_map<ChunkId, std::vector<Wait*>> waits_;
  std::set<VmId> abandoned_;
  std::map<VmId, tier::Reader> readers_;  // of VMs that were not abandoned
  bool is_stopping_ = false;
  std::vector<std::jthread> threads_;
};

}  // namespace forerun::daemon
