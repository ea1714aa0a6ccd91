// How a writer puts a chunk: what is stored already is renewed, verified and relied upon; what is
// broken is replaced.
#pragma once

#include <functional>
#include <vector>

#include "core/result.h"
#include "repository/chunk.h"
#include "repository/source.h"

namespace forerun::repository {

enum class PutKind : uint8_t { kReused, kNew, kRepaired };

struct PutChunk {
  PutKind kind = PutKind::kReused;
  ChunkRef ref;                 // as an index says it
  std::vector<ChunkRef> bases;  // if ref.is_delta: what that index must say, too
};

// Returns whole chunks of the store that `content` may be like, the likeliest first.
using ProposeBases = std::function<std::vector<ChunkRef>(ByteView content)>;

// Stores `content`, which name_chunk() named `id`, unless it is there and sound. Renewed first, so
// that no garbage collection takes it meanwhile (gc.h). Thread-safe if the store is.
//
// With `propose`, which says that the caller's index names bases: as a delta of some of what that
// returns where this is clearly shorter, or as the delta that is there; the bases are renewed, too.
// Without, a delta that is there is as good as nothing: its bases are not the caller's. So who
// writes no bases never comes to need any, whatever others write at the same time.
// ERRORS: those of the store.
Result<PutChunk> put_chunk(Store& store, const ChunkId& id, ByteView content, int zstd_level,
                           const ProposeBases& propose = {});

}  // namespace forerun::repository
