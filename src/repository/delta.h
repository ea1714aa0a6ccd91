// A chunk told by others: which runs of which bytes of them to copy, and what is different in each.
// For data that was built anew, where nearly every chunk differs in a few bytes all over.
// SOURCE: the idea of a copy with differences is that of C. Percival, "Naive differences of
// executable code", 2003 (bsdiff); here within a chunk, from up to four chunks, packed by zstd.
//
// Stored (docs/format_repository.md): the codec byte 2, how many bases, of each its name and size,
// then one zstd frame of the edits. A basis is a whole chunk, never a delta: it stands in chunks/,
// where no delta is let in, and deltas stand in a folder of their own.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "core/result.h"
#include "repository/chunk.h"

namespace forerun::repository {

inline constexpr size_t kBasesMax = 4;
inline constexpr size_t kBasisRefBytes = 32 + 4;

// Returns the stored form of `content`, told by `bases`, or nothing if it would have more than
// `stored_max` bytes. Slow: a chunk is packed once. REQUIRES: 1 to kBasesMax bases, no two equal,
// none equal to the content; 1 to kChunkSize bytes; stored_max ≤ kStoredSizeMax.
std::optional<Buffer> pack_delta(ByteView content, std::span<const ChunkPtr> bases,
                                 size_t stored_max);

// Returns which whole chunks are needed to unpack `stored`, in order (stored_size is a bound).
// ERRORS: kCorrupt, naming the chunk and what is wrong with its header.
Result<std::vector<ChunkRef>> read_bases(const ChunkRef& ref, ByteView stored);

// Returns the content of `stored`, verified against ref.id and ref.size. Memory: at most two
// chunks' content besides the bases. ERRORS: kCorrupt, as read_bases; or `bases` are not those that
// it names, in order; or they, verified as they are, do not give this chunk.
Result<ChunkPtr> decode_delta(const ChunkRef& ref, ByteView stored,
                              std::span<const ChunkPtr> bases);

}  // namespace forerun::repository
