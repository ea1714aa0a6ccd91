// The unit of storage, transfer, verification and caching: up to 64 KiB of component data, named by
// its SHA-256.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "core/bytes.h"
#include "core/id.h"
#include "core/result.h"

namespace forerun::repository {

inline constexpr uint32_t kChunkSize = 64 * 1024;
// A stored chunk is never larger than its content plus this header: incompressible data is stored
// as it is.
inline constexpr uint32_t kStoredHeaderSize = 1;
inline constexpr uint32_t kStoredSizeMax = kChunkSize + kStoredHeaderSize;

// What an index says of one chunk. A chunk of zeroes is not stored: stored_size is 0 and the id is
// all zero.
struct ChunkRef {
  ChunkId id;
  uint32_t size = 0;         // bytes of content; kChunkSize but for an image's last chunk
  // Bytes in the repository, and on the link, when the index was written: packing the same content
  // again may have changed it since. Without the bases of a delta.
  uint32_t stored_size = 0;
  // It may be stored as a delta (delta.h). The index that says so names all bases, too.
  bool is_delta = false;

  bool is_zero() const { return stored_size == 0; }
  bool operator==(const ChunkRef&) const = default;
};

// Verified content. Immutable, so it is shared freely between tier, replies in flight and writers.
struct Chunk {
  ChunkId id;
  Buffer content;
};
using ChunkPtr = std::shared_ptr<const Chunk>;

struct EncodedChunk {
  ChunkRef ref;
  Buffer stored;  // one codec byte (0 = as it is, 1 = one zstd frame), then the payload
};

// Returns the id of `content`, or nothing if it is all zeroes. REQUIRES: content is not empty.
std::optional<ChunkId> name_chunk(ByteView content);
// Returns the stored form of `content`, which name_chunk() named `id`.
EncodedChunk pack_chunk(const ChunkId& id, ByteView content, int zstd_level = 3);
// Both in one: zeroes give a zero ref and an empty `stored`.
// REQUIRES: 1 ≤ content.size() ≤ kChunkSize.
EncodedChunk encode_chunk(ByteView content, int zstd_level = 3);

// Returns the content of `stored`, verified against ref.id and ref.size: of a whole chunk, never of
// a delta. Never allocates more than ref.size. ERRORS: kCorrupt, naming the chunk and what is wrong
// with it.
Result<ChunkPtr> decode_chunk(const ChunkRef& ref, ByteView stored);

// Returns whether `content` is what `id` names.
bool verify_content(const ChunkId& id, ByteView content);

}  // namespace forerun::repository
