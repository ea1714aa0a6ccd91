// A host with a tier of memory, in simulated time: the daemon's tier, and of each VM the arbiter,
// all through one prefetcher over one link.
//
// The model: accesses come when the schedule says, whatever became of those before. What is missing
// is there at the next access; a prefetch takes its turn on the link and a round trip. A write asks
// for its chunk, since it changes a part of it, and teaches no model; it is not scored.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "traces.h"

namespace forerun::pollution {

enum class Policy : uint8_t {
  kShares,     // the tier as the daemon has it
  kNoShares,   // the same, one set of queues for all
  kPartition,  // a tier each, of an equal part
  kLru,        // one list for all; no prefetches
};

struct HostOptions {
  uint64_t tier_chunks = 0;
  uint32_t parts = 1;  // tenants: what a partition is cut into
  double seconds = 600;
  double link_bytes_per_s = 125e6;
  double round_trip_s = 0.010;
};

struct VmOutcome {
  uint64_t reads = 0, hits = 0;
  uint64_t prefetched = 0, wasted = 0;
  double hit_rate() const {
    return reads == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(reads);
  }
};

// Returns what became of each VM's reads, by name.
std::map<std::string, VmOutcome> replay(const std::vector<Vm>& vms, Policy policy,
                                        const HostOptions& options);

}  // namespace forerun::pollution
