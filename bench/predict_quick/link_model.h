// A guest, a cache without limit, and one link, in virtual time: enough to tell a good prediction
// from a bad one in a second. Not the truth: the daemon over a real link is (bench/boot).
//
// The guest is a closed loop: think time as recorded, then the next read. A read of missing blocks
// waits for all of them. The link is one queue: a block costs its bytes at the link's rate, and
// arrives a round trip after it was asked for at the earliest. Demand goes before prefetch but not
// before what is already on the wire; prefetches on the wire or asked for are at most one
// bandwidth-delay product and a block.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "core/time.h"
#include "predict/arbiter.h"
#include "trace/access.h"

namespace forerun::bench {

struct Link {
  double rate_bytes_per_s = 12.5e6;
  Nanos round_trip = 5ms;
  uint32_t block_bytes = 23 * 1024;  // a 64 KiB chunk of a Debian disk, compressed, on average
};

// Blocks of one component that a read touches.
struct TraceRun {
  ComponentId component{};
  uint64_t first_block = 0;
  uint32_t block_count = 0;
};

struct TraceRead {
  Nanos at{};  // recorded
  std::vector<TraceRun> runs;
};

// What came of one component.
struct PartResult {
  uint64_t demanded = 0;      // blocks that the guest waited for without a prefetch
  uint64_t demand_bytes = 0;  // of these, on the wire
  uint64_t wasted = 0, wasted_bytes = 0;
  uint64_t prefetched = 0, prefetched_bytes = 0;
};

// A chunk that the guest waited for.
struct Wait {
  enum class Why : uint8_t { kUnforeseen, kNotYetAsked, kOnTheWire };
  Nanos at{};  // since the start
  ComponentId component{};
  uint64_t block = 0;
  Why why = Why::kUnforeseen;
  Nanos length{};  // until it arrived
};

struct RunResult {
  double stall_s = 0;  // the guest waited
  double total_s = 0;
  uint64_t fetched = 0;  // blocks, by demand and prefetch
  uint64_t prefetched = 0, hit = 0, late = 0, wasted = 0;
  double wait_p99_ms = 0;  // of the reads that waited
  double ns_per_access_p50 = 0;
  uint64_t prefetched_bytes = 0, wasted_bytes = 0;  // on the wire
  std::map<ComponentId, PartResult> parts;
  struct ModelResult {
    uint64_t prefetched = 0, prefetched_bytes = 0;
    uint64_t wasted = 0, wasted_bytes = 0;
  };
  std::map<uint8_t, ModelResult> by_model;  // whose idea the prefetch was: index into models
  std::vector<Wait> waits;
  std::vector<predict::ModelReport> models;

  double waste_share() const {
    return fetched == 0 ? 0 : static_cast<double>(wasted) / static_cast<double>(fetched);
  }
};

struct RunOptions {
  Link link;
  double think_scale =
      1;  // of the recorded think times; 0.1 is what a guest with hardware acceleration shows
  // Waits of reads that were recorded later are no stall: the guest's services had answered. What
  // they touch is used all the same.
  Nanos served = Nanos::max();
  bool prefetches = true;  // false: on demand
  float probability_min = predict::Arbiter::Options{}.probability_min;
  bool is_priced = true;  // the arbiter knows what a block costs
  // Returns the bytes of a block on the wire; 0: zeroes, which need no fetch. Empty: all have
  // link.block_bytes.
  std::function<uint32_t(ComponentId component, uint64_t block)> bytes_of;
};

// Replays the reads through the arbiter. The models inside it see the run's own times, not the
// recorded ones.
RunResult run(const std::vector<TraceRead>& reads, predict::Arbiter& arbiter,
              const RunOptions& options);

}  // namespace forerun::bench
