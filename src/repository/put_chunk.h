// How a writer puts a chunk: what is stored already is renewed, verified and relied upon; what is
// broken is replaced.
#pragma once

#include "core/result.h"
#include "repository/chunk.h"
#include "repository/source.h"

namespace forerun::repository {

enum class PutKind : uint8_t { kReused, kNew, kRepaired };

struct PutChunk {
  PutKind kind = PutKind::kReused;
  ChunkRef ref;  // as an index says it
};

// Stores `content`, which name_chunk() named `id`, unless it is there and sound. Renewed first, so
// that no garbage collection takes it meanwhile (gc.h). Thread-safe if the store is.
// ERRORS: those of the store.
Result<PutChunk> put_chunk(Store& store, const ChunkId& id, ByteView content, int zstd_level);

}  // namespace forerun::repository
