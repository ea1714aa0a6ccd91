// A whole run: guests on a host, repositories behind links, and everything that goes wrong with
// them; then everything heals, and must come to rest; then every byte is checked.
#pragma once

#include <cstdint>
#include <string>

#include "core/time.h"
#include "sim/guest.h"
#include "sim/host.h"

namespace forerun::sim {

struct WorldOptions {
  uint64_t seed = 1;
  Nanos span = 20s;         // of virtual time with faults; healing and checking come on top
  bool is_verbose = false;  // tell each fault on stdout
  // Planted bugs, to show that the run finds what it is for.
  bool plant_lying_flush = false;       // 1 flush of the disk in 20 does nothing
  bool plant_unverified_chunk = false;  // a chunk that fails verification is served all the same
};

struct FaultCounts {
  uint64_t power_cuts = 0, cuts_inside_operations = 0, daemon_kills = 0, partitions = 0;
  uint64_t damaged_objects = 0, tier_faults = 0, disk_errors = 0, disk_full = 0;
};

struct WorldResult {
  std::string violation;  // empty: every law held
  uint64_t hash = 0;
  uint64_t events = 0;
  Nanos simulated{0};
  Time violated_at{};
  FaultCounts faults;
  HostTotals host;
  GuestStats guests;
  uint64_t sectors_lost = 0, sectors_rolled_back = 0, links_corrupted = 0, flush_lies = 0;
};

// Returns what came of one run; the same options give the same result, bit for bit.
WorldResult run_world(const WorldOptions& options);

}  // namespace forerun::sim
