// Puts chunks into a repository, many at a time: what is stored already is verified and kept, what
// is broken is replaced.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/result.h"
#include "image/basis_finder.h"
#include "image/importer.h"
#include "repository/chunk.h"
#include "repository/source.h"

namespace forerun::image {

struct ChunkTotals {
  uint64_t new_chunks = 0;
  uint64_t reused_chunks = 0;    // were in the repository, or given before
  uint64_t repaired_chunks = 0;  // were in the repository, broken
  uint64_t delta_chunks = 0;     // of the new ones
  uint64_t stored_bytes = 0;     // of new and repaired chunks

  bool operator==(const ChunkTotals&) const = default;
};

struct ChunkSinkOptions {
  int zstd_level = 3;
  size_t batch_chunks = 64;  // worked on at once, and all the memory that content takes
  ParallelFor parallel_for;  // empty: one after the other
  // Chunks that are not stored yet may become deltas of what this finds; see bases_of(). May be
  // null.
  std::shared_ptr<const BasisFinder> delta_from;
};

// One thread; hands work to options.parallel_for.
class ChunkSink {
 public:
  ChunkSink(repository::Store& store, ChunkSinkOptions options)
      : store_(store), options_(std::move(options)) {}

  // Takes a chunk; returns its number, the first being 0. ERRORS: those of the store, of this chunk
  // or one given before. REQUIRES: content has 1 to kChunkSize bytes and is not all zeroes.
  Result<size_t> add(Buffer content);
  // Puts what was taken and not yet put.
  Status finish();
  // REQUIRES: finish() since chunk `number` was added.
  const repository::ChunkRef& ref(size_t number) const { return refs_[number]; }
  // Returns what the deltas among `chunks`, which were given here, are told by: each once, in
  // order.
  std::vector<repository::ChunkRef> bases_of(std::span<const repository::ChunkRef> chunks) const;
  const ChunkTotals& totals() const { return totals_; }

 private:
  struct Outcome;
  Outcome put(ByteView content) const;
  Status account(const Outcome& outcome);

  repository::Store& store_;
  const ChunkSinkOptions options_;
  std::vector<Buffer> waiting_;
  std::vector<repository::ChunkRef> refs_;
  std::unordered_map<ChunkId, repository::ChunkRef> known_;               // the chunks seen so far
  std::unordered_map<ChunkId, std::vector<repository::ChunkRef>> bases_;  // of each delta
  ChunkTotals totals_;
};

}  // namespace forerun::image
