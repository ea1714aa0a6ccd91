// Replays a trace of block requests through a cache in front of a slow tier, in simulated time,
// with a method that fetches ahead: what the guest waits, and what it costs.
//
// The model: a request hits what is in the cache. A read of m missing blocks is done after the slow
// tier's latency and m times the time of a block; it does not queue behind prefetches, but pushes
// them back. A prefetched block comes a latency after its turn on the link; a read of it before
// that waits for it. A write fills the cache, is not scored, and takes no credit for what was
// prefetched. Requests are scored whole: a prefetcher gets nothing for the tail of the request that
// it is looking at.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/time.h"
#include "replay/block_cache.h"
#include "replay/block_method.h"
#include "trace/block_trace.h"

namespace forerun::replay {

struct BlockWorld {
  double hit_us = 20;
  double miss_us = 1000;            // latency of the slow tier
  double block_us = 4096 / 200.0;   // time of a block on the link: 200 MB/s
  double cache_share = 0.05;        // of the distinct blocks of the trace; at least 64 blocks
  bool has_recorded_times = false;  // otherwise a request begins when the one before is done
  double warm_up_share = 0;         // of the requests: replayed first, not scored
  uint32_t run_blocks_max = 256;
  double traffic_max = 0;  // against none; what would exceed it is not fetched ahead. 0: no limit
  Eviction eviction = Eviction::kLru;
};

// Requests in blocks of `block_bytes`. REQUIRES: block_bytes is a multiple of a sector.
class BlockAccesses {
 public:
  explicit BlockAccesses(uint32_t block_bytes)
      : block_sectors_(block_bytes / trace::kSectorBytes) {}
  // ERRORS: kTooLarge over 100 million requests.
  Status add(const trace::BlockRequest& request);
  std::span<const BlockAccess> all() const { return accesses_; }
  // Returns how many different blocks are read or written.
  size_t distinct_blocks() const;

 private:
  static constexpr size_t kAccessesMax = 100'000'000;
  uint32_t block_sectors_;
  std::vector<BlockAccess> accesses_;
};

struct BlockOutcome {
  std::string method;
  uint64_t reads = 0, reads_missed = 0;  // scored; missed: at least one block
  uint64_t blocks_read = 0, blocks_missed = 0;
  uint64_t blocks_issued = 0, blocks_used = 0, blocks_late = 0;
  uint64_t polluted_blocks = 0;  // missed, though a cache without prefetches would have had them
  double mean_us = 0, p50_us = 0, p90_us = 0, p99_us = 0, p999_us = 0;
  double late_wait_us = 0;                      // mean, of reads that waited for a prefetch
  double method_ns_p50 = 0, method_ns_p99 = 0;  // of the method itself, per read
  size_t state_bytes = 0;
  std::vector<double> window_mean_us;       // of 100 windows of equal numbers of reads
  std::vector<double> window_missed_share;  // blocks, of the same

  // All against the same replay without prefetches.
  double coverage(const BlockOutcome& none) const;
  double traffic(const BlockOutcome& none) const;
  double accuracy() const;
  double timely() const;  // of the used blocks, those that were here before the guest asked
};

// One thread.
class BlockReplay {
 public:
  // `clock`: measures the method itself; null: it is not measured.
  BlockReplay(std::span<const BlockAccess> accesses, size_t cache_blocks, const BlockWorld& world,
              const Clock* clock)
      : accesses_(accesses), cache_blocks_(cache_blocks), world_(world), clock_(clock) {}
  // Returns the size of the cache that the world asks for.
  static size_t cache_blocks(const BlockAccesses& accesses, const BlockWorld& world);

  // `method`: null: nothing is fetched ahead. `progress` is called now and then with the share that
  // is done; it may be empty.
  BlockOutcome run(BlockMethod* method, const std::function<void(double)>& progress) const;

 private:
  std::span<const BlockAccess> accesses_;
  size_t cache_blocks_;
  BlockWorld world_;
  const Clock* clock_;
};

}  // namespace forerun::replay
