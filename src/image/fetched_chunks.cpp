#include "image/fetched_chunks.h"

#include <unordered_set>
#include <vector>

#include "repository/fetch.h"

namespace forerun::image {

void FetchedChunks::fetch(std::span<const repository::ChunkRef> chunks,
                          const ParallelFor& parallel_for) {
  if (!parallel_for) return;
  std::vector<repository::ChunkRef> wanted;
  std::unordered_set<ChunkId> seen;
  {
    const std::lock_guard lock(mutex_);
    for (const repository::ChunkRef& chunk : chunks) {
      if (!chunk.is_zero() && !known_.contains(chunk.id) && seen.insert(chunk.id).second)
        wanted.push_back(chunk);
    }
  }
  parallel_for(wanted.size(), [&](size_t i) { [[maybe_unused]] const auto got = get(wanted[i]); });
}

Result<repository::ChunkPtr> FetchedChunks::get(const repository::ChunkRef& chunk) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = known_.find(chunk.id); found != known_.end()) return found->second;
  }
  // Neighbours are told by the same bases.
  const auto basis = [this](const repository::ChunkRef& ref) { return get(ref); };
  FR_TRY(auto fetched, repository::fetch_chunk(source_, chunk, basis));
  const std::lock_guard lock(mutex_);
  return known_.emplace(chunk.id, std::move(fetched)).first->second;
}

}  // namespace forerun::image
