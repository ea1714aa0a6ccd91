// One host in virtual time: the classes of the daemon (tier, fetch queue with its scheduler,
// prefetcher, arbiters and models, virtual disks), and between them what the daemon's threads do:
// the pool that fetches, the rounds that learn, the loop that writes the tier back.
//
// What dies with the process dies with this object: a new one is built over the same disks.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "core/id.h"
#include "core/result.h"
#include "image/mapping_table.h"
#include "predict/arbiter.h"
#include "predict/registry.h"
#include "prefetch/fetch_queue.h"
#include "prefetch/prefetcher.h"
#include "sim/event_loop.h"
#include "sim/fiber.h"
#include "sim/sim_disk.h"
#include "sim/sim_link.h"
#include "tier/tier.h"
#include "trace/access_ring.h"

namespace forerun::sim {

struct HostOptions {
  tier::TierOptions tier;
  prefetch::FetchQueueOptions queue;
  prefetch::PrefetcherOptions prefetcher;
  uint32_t fetches_per_source_max = 16;
  Nanos round = 2ms;  // from an observation to the models
  Nanos tick = 50ms;
  bool serve_unverified = false;  // the planted bug: chunks are taken as they come
};

// What the sums over all hosts of a run came to; tells that a run had something to show.
struct HostTotals {
  uint64_t demand_fetches = 0, prefetches = 0, fetch_failures = 0;
  uint64_t hit = 0, late = 0, wasted = 0, cancelled = 0;
  uint64_t corrupt_answers = 0, tier_corrupt = 0, tier_file_hits = 0, tier_evicted = 0;
  uint64_t joined = 0;
};

// One thread: the loop's.
class Host {
 public:
  struct World {
    EventLoop& loop;
    SimFolder& tier_disk;
    std::vector<SimLink*> links;  // one per repository, in the order in which they are asked
    std::vector<image::ComponentPtr> components;
    std::shared_ptr<predict::ReplayHistory> history;
  };
  static Result<std::unique_ptr<Host>> start(HostOptions options, World world);
  // REQUIRES: stop() was called, and every fiber inside get() has returned.
  ~Host();

  // Returns the chunks in order once all are here; suspends the calling fiber. ERRORS: what befell
  // the first that failed; kUnavailable once stopped.
  Result<std::vector<repository::ChunkPtr>> get(std::span<const repository::ChunkRef> chunks,
                                                VmId vm);
  // From now on nothing is served: everyone who waits gets kUnavailable, in later events.
  void stop();
  bool is_stopped() const { return is_stopped_; }
  // Writes the tier's file as a clean shutdown does.
  Status sync() { return tier_->sync(); }

  // `is_boot`: at power-on; otherwise the VM was found running.
  void start_vm(VmId vm, ComponentId component, bool is_boot);
  void end_vm(VmId vm);
  void observe(const trace::Access& access);

  tier::Tier& tier() { return *tier_; }
  EventLoop& loop() { return world_.loop; }
  // Returns how many fibers wait inside get().
  size_t waiting() const { return waiters_; }
  // Returns the prefetches whose end is not known yet, of VMs that have ended.
  uint64_t undecided_of_ended() const;
  // Returns the first law that was broken, or nothing.
  const std::string& violation() const { return violation_; }
  // Adds this host's figures, after the last VM has ended; checks that they add up.
  void close_books(HostTotals& totals);

 private:
  struct Wait;
  struct Session {
    ComponentId component;
    std::unique_ptr<predict::Arbiter> arbiter;  // null once ended
    uint64_t wanted = 0;                        // prefetches that the prefetcher ordered
  };
  struct Event {
    ChunkId chunk;
    enum class Kind : uint8_t { kArrived, kFailed, kEvicted } kind;
  };

  Host(HostOptions options, World world, std::unique_ptr<tier::Tier> tier);
  repository::ChunkRef resolve(ComponentId component, uint64_t block) const;
  void pump();
  void send(const prefetch::FetchTask& task);
  void on_answer(const prefetch::FetchTask& task, Result<Buffer> answer);
  void deliver(const prefetch::FetchEnd& end);
  void wake_later(Wait& wait);
  void schedule_round(Nanos delay);
  void schedule_retry();
  void round();
  void tick();
  void offer(VmId vm, const std::vector<predict::Proposal>& proposals);
  void pull_prefetches();
  void check_overtaking(const prefetch::FetchTask& task);
  void check_limits();
  void check_accounts();
  void violate(std::string what);

  const HostOptions options_;
  World world_;
  std::unique_ptr<tier::Tier> tier_;
  prefetch::FetchQueue queue_;
  prefetch::Prefetcher prefetcher_;
  trace::AccessRing ring_;
  std::map<VmId, Session> sessions_;
  std::vector<Event> inbox_;
  std::map<ChunkId, std::vector<Wait*>> waits_;
  size_t waiters_ = 0;
  std::set<ChunkId> in_flight_;
  std::vector<uint32_t> fetching_;                // by source
  std::map<uint64_t, EventLoop::Ticket> timers_;  // everything this host has in the loop
  uint64_t next_timer_ = 1;
  bool round_is_due_ = false;
  Time retry_at_ = kTimeNever;
  bool is_stopped_ = false;
  bool is_pumping_ = false;

  // Of the law that a prefetch does not overtake: bytes by class sent while critical ones waited.
  std::vector<uint64_t> critical_bytes_, overtaking_bytes_;
  HostTotals totals_;
  std::string violation_;
};

}  // namespace forerun::sim
