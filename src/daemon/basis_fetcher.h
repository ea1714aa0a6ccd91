// The bases of deltas, for the threads of a fetch service: from the tier where they are there, else
// from a repository, each once however many deltas wait for it, and into the tier.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "core/result.h"
#include "repository/source.h"
#include "tier/tier.h"

namespace forerun::daemon {

// Thread-safe. Fetches on the caller's thread: it needs no other thread of a bounded pool, so none
// of them can wait for another without end.
class BasisFetcher {
 public:
  // `sources`: as FetchService has them; they and the tier outlive this.
  BasisFetcher(tier::Tier& tier, std::vector<repository::Source*> sources)
      : tier_(tier), sources_(std::move(sources)) {}

  // Returns the basis, verified. Asks source `first`, which had the delta, then the others.
  // `fetched_bytes` grows by what this call fetched. ERRORS: as repository::fetch_chunk, of the
  // first source that failed otherwise than by not having it.
  Result<repository::ChunkPtr> get(const repository::ChunkRef& basis, uint32_t first,
                                   tier::Admission admission, uint64_t& fetched_bytes);

 private:
  struct Flight {
    bool is_over = false;
    Result<repository::ChunkPtr> outcome;
  };
  Result<repository::ChunkPtr> fetch(const repository::ChunkRef& basis, uint32_t first,
                                     uint64_t& fetched_bytes);

  tier::Tier& tier_;
  const std::vector<repository::Source*> sources_;
  std::mutex mutex_;  // guards flights_ and what they hold; never held across a fetch
  std::condition_variable landed_;
  std::unordered_map<ChunkId, std::shared_ptr<Flight>> flights_;
};

}  // namespace forerun::daemon
