// The host's shared fast cache of chunks: memory in front of a file on local disk, of fixed size, never needed for
// correctness. What it holds survives a restart; what it reads back is verified.
//
// Eviction, in both levels: S3-FIFO. SOURCE: Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023,
// §4. Changed: a prefetched chunk enters the small queue on probation; its first use counts as the demand that brought
// it, not as a re-use, and unused prefetched chunks together never hold more than probation_ratio of a level.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "core/id.h"
#include "core/result.h"
#include "core/storage_file.h"
#include "repository/chunk.h"

namespace forerun::tier {

enum class Admission : uint8_t { kDemand, kPrefetch };
enum class Level : uint8_t { kNone, kMemory, kFile };

struct TierOptions {
  uint64_t memory_bytes_max = 256ull << 20;
  uint64_t file_bytes_max = 4ull << 30;   // 0: no file level
  double small_ratio = 0.10;              // S3-FIFO's small queue
  double probation_ratio = 0.25;          // of a level, for prefetched and not yet used
  size_t write_back_chunks_max = 1024;    // chunks that wait to be written to the file; more are not written (counted)
};

struct TierStats {
  uint64_t memory_hits = 0, file_hits = 0, misses = 0;
  uint64_t memory_bytes = 0, file_bytes = 0, probation_bytes = 0;
  uint64_t evicted = 0, evicted_unused = 0;   // of the whole tier: in neither level any more
  uint64_t corrupt = 0;                       // read back from the file and refused
  uint64_t write_back_dropped = 0;
};

// Thread-safe. No lock is held across file I/O.
class Tier {
 public:
  // Takes over `data` (slots of chunk content) and `index` (a record a slot), from which it warms up; both may be null
  // (no file level). A damaged or foreign index is dropped with a log line: the tier starts empty.
  static Result<std::unique_ptr<Tier>> open(TierOptions options, std::unique_ptr<StorageFile> data,
                                            std::unique_ptr<StorageFile> index);
  ~Tier();

  // Returns the chunk if it is in memory, and counts a use. The hot path: one lock of one shard, no I/O.
  repository::ChunkPtr find_in_memory(const ChunkId& id);
  // Returns the chunk from memory or from the file (then read, verified against `id`, and kept in memory), or null.
  // A chunk that fails verification is dropped and counted. `level` receives where it was.
  repository::ChunkPtr find(const ChunkId& id, Level* level = nullptr);
  // Returns where the chunk is, without counting a use and without I/O.
  Level where(const ChunkId& id) const;
  // Puts a verified chunk into memory and queues it for the file. Already there: a demand ends its probation.
  void insert(repository::ChunkPtr chunk, Admission admission);
  // Drops a chunk from both levels.
  void erase(const ChunkId& id);

  // Writes up to `chunks_max` queued chunks to the file, and their index records. Returns how many were written;
  // 0 = nothing queued. Called by one thread in a loop; the caller decides when.
  Result<size_t> write_back(size_t chunks_max);
  // Writes everything queued and flushes the files, so that a restart is warm. ERRORS: kIo, kNoSpace.
  Status sync();

  // Called without any lock when a prefetched chunk leaves the tier without having been used.
  void on_evicted_unused(std::function<void(const ChunkId&)> callback);

  TierStats stats() const;

 private:
  struct Impl;
  explicit Tier(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace forerun::tier
