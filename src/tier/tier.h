// The host's shared fast cache of chunks: memory in front of a file on local disk, of fixed size,
// never needed for correctness. What it holds survives a restart; what it reads back is verified.
//
// The memory is one pool for all VMs of the host: a chunk is in it once, whoever wants it.
//
// Eviction, in both levels: S3-FIFO (tier/s3fifo.h), the victim chosen among the oldest by what it
// would cost to have it again, weighed with how probably it is wanted; never a chunk that a read
// holds. A prefetched chunk is on probation until its first use, which counts as the demand that
// brought it, not as a re-use; of a full level, unused prefetched chunks together hold a share that
// follows their usefulness. What each VM brought is held apart from what others did: of a full
// level each VM and each tenant has a share, earned by re-use (tier/shares.h); the rest is
// anybody's, who gives way first.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

#include "core/id.h"
#include "core/result.h"
#include "core/storage_file.h"
#include "core/time.h"
#include "repository/chunk.h"
#include "tier/admission.h"
#include "tier/reader.h"

namespace forerun::tier {

enum class Level : uint8_t { kNone, kMemory, kFile };

struct TierOptions {
  uint64_t memory_bytes_max = 256ull << 20;
  uint64_t file_bytes_max = 4ull << 30;  // 0: no file level
  double small_ratio = 0.10;             // S3-FIFO's small queue
  // Share of a full level for prefetched and not yet used: to begin with, and what it moves between
  // (widened to hold the first).
  double probation_ratio = 0.25;
  double probation_ratio_min = 0.06;
  double probation_ratio_max = 0.5;
  uint32_t victim_candidates = 8;  // 1 to 16; 1: the oldest leaves, whatever it is worth
  // Chunks that wait to be written to the file (they may hold so much memory more); more are not
  // written (counted).
  size_t write_back_chunks_max = 1024;
  // Locks, at most; fewer if a level has less than 16 chunks for each. Each shard has an equal part
  // of every limit.
  uint32_t shards = 16;
  // Shares of VMs and tenants. `guaranteed_ratio`: of an equal part, what a VM has that earns
  // nothing. What was not used again for one to two `share_memory` is no longer earned.
  bool has_shares = true;
  double guaranteed_ratio = 0.125;
  Nanos share_memory = std::chrono::minutes(10);
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

// What waiting for a chunk again costs a guest.
struct FetchCosts {
  double remote_seconds = 0.005;  // the link's round trip
  double remote_seconds_per_byte = 1 / 12.5e6;
  double file_seconds = 0.0003;  // from the file, verified
};

// What the memory level is used for, now. A chunk counts as 4 KiB at least, and in one of the first
// three.
struct PoolStats {
  uint64_t reserved_bytes = 0;         // held by a read, or foreseen for soon (need())
  uint64_t prefetched_bytes = 0;       // not used yet, not reserved
  uint64_t used_bytes = 0;             // the rest
  uint64_t in_use_bytes = 0;           // of the reserved: held by a read
  uint64_t limit_bytes = 0;            // see set_memory_limit
  uint64_t probation_limit_bytes = 0;  // what prefetched chunks may hold once memory is full
  // By readers that there are still: chunks that two or more have used, and what all readers would
  // hold if each had its own copy of what it used.
  uint64_t shared_bytes = 0, copies_bytes = 0;
};

// What one reader holds alone, what it may hold of a full level before it gives way, and how much
// of that it earned.
struct TierShare {
  uint64_t memory_bytes = 0, memory_share_bytes = 0, memory_earned_bytes = 0;
  uint64_t file_bytes = 0, file_share_bytes = 0;
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
  repository::ChunkPtr find_in_memory(const ChunkId& id, Reader reader = kNoReader);
  // Returns the chunk from memory or from the file (then read, verified against `id`, and kept in
  // memory), or null. A chunk that fails verification is dropped and counted. `level` receives
  // where it was.
  repository::ChunkPtr find(const ChunkId& id, Level* level = nullptr, Reader reader = kNoReader);
  // Returns where the chunk is, without counting a use and without I/O.
  Level where(const ChunkId& id) const;
  // Puts a verified chunk into memory and queues it for the file. Already there: a demand ends its
  // probation. `reader`: who uses it, or for whom it was fetched ahead; it holds it while no other
  // uses it. REQUIRES: 1 to kChunkSize bytes of content.
  void insert(repository::ChunkPtr chunk, Admission admission, Reader reader = kNoReader);
  // Says that a chunk will be wanted, with this probability, and when at the latest: until then or
  // its next use it is dearer to evict. Each call stands for one use. Cheap: one lock of one shard.
  // Returns whether it is here; a chunk that is not is not remembered.
  bool need(const ChunkId& id, double probability, Time until);
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
  // without having been used; once for each such chunk. Set it before anything is inserted; a
  // thread may be in write_back() by then.
  void on_evicted_unused(std::function<void(const ChunkId&)> callback);

  // Tells the time, by which needs end and what is earned fades. Called now and then.
  void tick(Time now);
  void set_costs(const FetchCosts& costs);
  // Changes how much memory may be used, at most memory_bytes_max. Less evicts at once, of least
  // worth first, all but what is in use; that follows as it is released. Less than one chunk a
  // shard leaves the file only.
  void set_memory_limit(uint64_t bytes);

  // Returns a number for a new reader, a VM of this tenant or, if empty, of its own. If there are
  // too many, some have one number and share together.
  Reader add_reader(std::string_view tenant = {});
  // Forgets what it used. REQUIRES: it was added; nothing is called with it any more.
  void remove_reader(Reader reader);
  TierShare share(Reader reader) const;
  // Counts `reader` among those that used the chunk, if it is here: for one that was handed
  // the chunk past the tier.
  void note_reader(const ChunkId& id, Reader reader);

  TierStats stats() const;
  // Returns the accounts of the memory level. Looks at every chunk, one shard's lock at a time.
  PoolStats pool() const;

 private:
  struct Impl;
  explicit Tier(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace forerun::tier
