// From expected launches to fetches: which chunks the boots to come will read, once each whoever
// wants them, those first that save most waiting per byte, within a budget that is earned. Every
// chunk it fetched is accounted once, as used or wasted.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/id.h"
#include "core/time.h"
#include "prefetch/prefetcher.h"
#include "repository/chunk.h"
#include "score/budget.h"
#include "score/ledger.h"

namespace forerun::prefetch {

// An image that is expected to be launched, and what a boot of it is foreseen to read.
struct LaunchWish {
  struct Chunk {
    ComponentId component;
    uint64_t block = 0;
    repository::ChunkRef chunk;
    float support = 0;  // probability that a boot reads it
  };
  std::string image;
  float probability = 0;  // of a launch within the horizon
  Time due{};             // when it is expected
  std::vector<Chunk> chunks;
};

// What a guest would wait for a chunk that is not here. Both 0: not known.
struct LinkCost {
  double rate_bytes_per_s = 0;
  Nanos round_trip{0};
};

// One thread.
class LaunchFetcher {
 public:
  struct Options {
    float support_min = 0.5F;       // of a chunk; what fewer boots read is left to the boot
    double ready_ratio = 0.9;       // of an image's foreseen bytes, that make it ready
    uint32_t handed_over_max = 16;  // in the fetch queue at once
    Nanos horizon = std::chrono::minutes(10);     // a chunk unused for so long is wasted …
    Nanos boot_window = std::chrono::minutes(2);  // … or for so long after a launch, if later
    score::Budget::Options budget;
  };
  enum class Came : uint8_t { kFetched, kUsed, kWasted };
  struct Event {
    Came came = Came::kFetched;
    std::string image;  // that wanted the chunk most
    uint64_t bytes = 0;
  };
  struct Readiness {
    uint64_t foreseen_bytes = 0, here_bytes = 0;  // as stored
    uint64_t foreseen_chunks = 0, here_chunks = 0;
    bool is_ready = false;
  };

  LaunchFetcher(Options options, Prefetcher::IsHere is_here);

  // Replaces what is wished. What was handed over before stays so.
  void wish(std::vector<LaunchWish> wishes, LinkCost link, Time now);
  void on_launch(std::string_view image, Time now);
  // A guest read this chunk. `has_waited`: it was not here.
  void on_read(const ChunkId& id, bool has_waited, Time now);
  void on_fetched(const ChunkId& id, bool is_here, Time now);
  void on_cancelled(const ChunkId& id, Time now);
  void on_evicted_unused(const ChunkId& id, Time now);
  // Settles what stayed unused too long. Every second or so.
  void tick(Time now);
  // Appends what to fetch now.
  void pull(Time now, std::vector<PrefetchCommand>& out);

  // Returns how much of what is foreseen of a wished image is here; nothing for others.
  Readiness readiness(std::string_view image) const;
  // Returns the events since the last call, in order.
  std::vector<Event> take_events() { return std::exchange(events_, {}); }
  // Returns whether reads, ends and evictions of chunks concern it at all.
  size_t undecided_chunks() const { return issued_.size(); }
  size_t waiting_chunks() const { return queue_.size() - next_; }
  const score::Budget& budget() const { return budget_; }
  score::ModelTally tally() const { return ledger_.total(); }

 private:
  struct Wanted {
    repository::ChunkRef chunk;
    ComponentId component;
    uint64_t block = 0;
    uint32_t position = 0;  // in a boot
    double none = 1;        // probability that nobody reads it
    float most = 0;         // of one image
    Time due{};
    std::vector<uint32_t> images;  // of names_; who wants it most comes first
    double value_per_byte = 0;
  };
  struct Issued {
    Wanted wanted;
    Time at{}, deadline{};
    bool is_under_way = true;
  };
  uint32_t index_of(const std::string& image);
  void decide(std::unordered_map<ChunkId, Issued>::iterator issued, score::Outcome outcome,
              Time now);

  Options options_;
  Prefetcher::IsHere is_here_;
  score::Budget budget_;
  score::Ledger ledger_;
  std::vector<LaunchWish> wishes_;
  std::map<std::string, uint32_t, std::less<>> numbers_;
  std::vector<std::string> names_;
  std::vector<Wanted> queue_;  // best first
  size_t next_ = 0;            // of queue_
  std::unordered_map<ChunkId, Issued> issued_;
  uint32_t under_way_ = 0;
  std::vector<Event> events_;
};

}  // namespace forerun::prefetch
