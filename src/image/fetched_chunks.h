// Chunks of a source that one piece of work needs, each fetched once: several at a time if what
// will be needed is known.
#pragma once

#include <mutex>
#include <span>
#include <unordered_map>

#include "core/result.h"
#include "image/parallel_for.h"
#include "repository/chunk.h"
#include "repository/source.h"

namespace forerun::image {

// Thread-safe if the source is. Keeps every chunk for as long as it lives.
class FetchedChunks {
 public:
  // The source outlives this object.
  explicit FetchedChunks(repository::Source& source) : source_(source) {}

  // Fetches those that are not here yet. What fails is asked for again by get().
  void fetch(std::span<const repository::ChunkRef> chunks, const ParallelFor& parallel_for);
  // ERRORS: as fetch_chunk. REQUIRES: !chunk.is_zero().
  Result<repository::ChunkPtr> get(const repository::ChunkRef& chunk);

 private:
  repository::Source& source_;
  std::mutex mutex_;  // guards known_; never held across a fetch
  std::unordered_map<ChunkId, repository::ChunkPtr> known_;
};

}  // namespace forerun::image
