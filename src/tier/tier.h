// The host's shared fast cache of chunks: memory in front of a file on local disk, of fixed size,
// never needed for correctness. What it holds survives a restart; what it reads back is verified.
//
// Eviction, in both levels: S3-FIFO (tier/s3fifo.h). A prefetched chunk is on probation until its
// first use, which counts as the demand that brought it, not as a re-use; unused prefetched chunks
// together never hold more than probation_ratio of a level.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "core/id.h"
#include "core/result.h"
#include "core/storage_file.h"
#include "repository/chunk.h"
#include "tier/admission.h"

namespace forerun::tier {

enum class Level : uint8_t { kNone, kMemory, kFile };

struct TierOptions {
  uint64_t memory_bytes_max = 256ull << 20;
  uint64_t file_bytes_max = 4ull << 30;  // 0: no file level
  double small_ratio = 0.10;             // S3-FIFO's small queue
  double probation_ratio = 0.25;         // of a level, for prefetched and not yet used
  // Chunks that wait to be written to the file (they may hold so much memory more); more are not
  // written (counted).
  size_t write_back_chunks_max = 1024;
  // Locks, at most; fewer if a level has less than 16 chunks for each. Each shard has an equal part
  // of every limit.
  uint32_t shards = 16;
};

struct TierStats {
  uint64_t memory_hits = 0, file_hits = 0, misses = 0;
  uint64_t memory_bytes = 0;     // a chunk counts as 4 KiB at least
  uint64_t file_bytes = 0;       // whole slots, those included that still wait to be written
  uint64_t probation_bytes = 0;  // of both levels
  uint64_t evicted = 0;          // from the whole tier: in neither level any more
  uint64_t evicted_unused = 0;   // calls of on_evicted_unused: erased ones count too
  uint64_t corrupt = 0;  // could not be read back from the file, or was not what it should be
  uint64_t write_back_dropped = 0;
};

// Thread-safe. No lock that a reader takes is held across file I/O.
class Tier {
 public:
  // Takes over `data` (slots of chunk content) and `index` (a record a slot), from which it warms
  // up; both may be null (no file level). A damaged or foreign index is dropped with a log line:
  // the tier starts empty. A file that cannot be used at all leaves a tier of memory only, with a
  // log line. ERRORS: kInvalid: options that make no sense, or one file without the other.
  static Result<std::unique_ptr<Tier>> open(TierOptions options, std::unique_ptr<StorageFile> data,
                                            std::unique_ptr<StorageFile> index);
  ~Tier();

  // Returns the chunk if it is in memory, and counts a use. The hot path: one lock of one shard, no
  // I/O.
  repository::ChunkPtr find_in_memory(const ChunkId& id);
  // Returns the chunk from memory or from the file (then read, verified against `id`, and kept in
  // memory), or null. A chunk that fails verification is dropped and counted. `level` receives
  // where it was.
  repository::ChunkPtr find(const ChunkId& id, Level* level = nullptr);
  // Returns where the chunk is, without counting a use and without I/O.
  Level where(const ChunkId& id) const;
  // Puts a verified chunk into memory and queues it for the file. Already there: a demand ends its
  // probation. REQUIRES: 1 to kChunkSize bytes of content.
  void insert(repository::ChunkPtr chunk, Admission admission);
  // Drops a chunk from both levels.
  void erase(const ChunkId& id);

  // Writes up to `chunks_max` queued chunks to the file, and their index records. Returns how many
  // were written; 0 = nothing queued. Called by one thread in a loop; the caller decides when.
  // ERRORS: kIo, kNoSpace: nothing more is written for a while, which is logged here, once; what
  // the file holds is still served.
  Result<size_t> write_back(size_t chunks_max);
  // Writes everything queued and flushes the files, so that a restart is warm. ERRORS: kIo,
  // kNoSpace, and the last error of write_back while nothing is written because of it.
  Status sync();

  // Called without any lock when a prefetched chunk leaves the tier (is in neither level any more)
  // without having been used; once for each such chunk. Set it before other threads use the tier.
  void on_evicted_unused(std::function<void(const ChunkId&)> callback);

  TierStats stats() const;

 private:
  struct Impl;
  explicit Tier(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace forerun::tier
