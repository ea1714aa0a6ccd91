// From proposals to fetches: what the arbiter thinks likely becomes, chunk by chunk, a prefetch
// that is worth its price, or nothing. De-duplicates over models and VMs, orders by probability
// band and due time, staggers, serves tenants and their VMs in turn, stays within each VM's and
// each tenant's earned budget, takes back what the guest asked for first or no longer needs, and
// accounts every chunk it fetched exactly once as hit, late or wasted.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/id.h"
#include "core/time.h"
#include "iosched/token_bucket.h"
#include "predict/arbiter.h"
#include "repository/chunk.h"
#include "score/budget.h"
#include "score/ledger.h"
#include "trace/access.h"

namespace forerun::prefetch {

struct PrefetcherOptions {
  uint32_t candidates_max = 1 << 16;  // waiting, per VM; the least probable are dropped
  uint32_t handed_over_max = 16;      // prefetches in the fetch queue at once, over all VMs
  Nanos patience =
      30s;  // an arrived chunk unused this long after it was due counts against the budget
  iosched::TokenBucket::Options stagger;  // over all VMs; the rate follows set_link_rate
  double stagger_ratio = 1.25;            // of the link's measured rate that prefetches may take
  score::Budget::Options budget;          // each VM's
  // A tenant's VMs together may have as much as so many VMs.
  uint32_t tenant_budget_vms = 4;
};

// What to do with the fetch queue.
struct PrefetchCommand {
  enum class Kind : uint8_t { kWant, kCancel } kind = Kind::kWant;
  repository::ChunkRef chunk;
  VmId vm{};
  Time due{};
};

struct PrefetchStats {
  uint64_t issued = 0, hit = 0, late = 0, wasted = 0, cancelled = 0, failed = 0;  // chunks
  uint64_t issued_bytes = 0, hit_bytes = 0, late_bytes = 0,
           wasted_bytes = 0;  // as stored: bytes on the link
  uint64_t undecided = 0;     // arrived or under way, not yet used
  uint64_t waiting = 0;       // candidates not issued
  uint64_t budget_bytes = 0;  // available now, to the VM and its tenant
  uint64_t earned_bytes = 0;  // may be undecided at a time
  double usefulness = 1;      // of decided bytes, recent ones first
};

// One thread.
class Prefetcher {
 public:
  // Returns the chunk at a block of a component; a zero chunk if there is none. Pure.
  using Resolve = std::function<repository::ChunkRef(ComponentId component, uint64_t block)>;
  // Returns whether the chunk is in the tier already.
  using IsHere = std::function<bool(const ChunkId&)>;

  // Hears of a chunk that it will be wanted, with this probability, and when at the latest. Returns
  // whether it is in the tier. Called for what is foreseen and here, or has just come; cheap.
  using Need = std::function<bool(const ChunkId&, float probability, Time until)>;

  Prefetcher(PrefetcherOptions options, Resolve resolve, IsHere is_here);
  ~Prefetcher();

  // Once, before the first VM; without it nobody hears.
  void on_need(Need need);

  // `tenant`: empty: of its own.
  void start_vm(VmId vm, std::vector<std::string> models, Time now, const std::string& tenant = {});
  // More models speak for this VM from now on; what others said stays. Returns the index that the
  // first one's proposals carry.
  uint8_t add_models(VmId vm, std::vector<std::string> models);
  // Takes back what waits for this VM; what it fetched and did not use is wasted.
  void end_vm(VmId vm, Time now);

  void offer(VmId vm, std::span<const predict::Proposal> proposals, Time now);
  // A guest read these blocks: settles prefetched chunks, drops candidates that it overtook.
  void on_access(const trace::Access& access, Time now);
  // A prefetch that was handed over has ended. `is_here`: it arrived.
  void on_fetched(const ChunkId& id, bool is_here, Time now);
  // A prefetch that was handed over was taken back before it was sent.
  void on_cancelled(const ChunkId& id, Time now);
  // The tier let a prefetched chunk go unused.
  void on_evicted_unused(const ChunkId& id, Time now);
  // The link's measured rate, in bytes per second; 0: unknown.
  void set_link_rate(double rate_bytes_per_s, Time now);

  // Appends what to do now.
  void pull(Time now, std::vector<PrefetchCommand>& out);

  PrefetchStats stats(VmId vm) const;
  // Returns the VM's ledger, or null.
  const score::Ledger* ledger(VmId vm) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace forerun::prefetch
