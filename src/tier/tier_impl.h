// How the two levels are kept as one. A shard's lock guards its part of both levels, so "in neither
// level any more" is decided in one place. A chunk enters the file level when it is inserted: until
// its slot is written it is `pending` there and holds its content in memory. Whether a chunk is on
// probation is the same in both levels. Included by this room's sources only.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tier/s3fifo.h"
#include "tier/slot_file.h"
#include "tier/tier.h"

namespace forerun::tier {

inline constexpr uint64_t kChargeMin =
    4096;  // so that bookkeeping stays small beside what is counted
// After a failed write, so many chunks go unwritten before the file is tried again.
inline constexpr uint64_t kDropsBeforeRetry = 1024;

// What is foreseen of a chunk.
struct Need {
  float probability = 0;
  uint8_t uses = 0;  // foreseen and not yet seen; 0: nothing is
  Time until{};

  void add(double said, Time when) {
    probability = std::max(uses == 0 ? 0.0f : probability, static_cast<float>(said));
    until = uses == 0 ? when : std::max(until, when);
    if (uses < 255) ++uses;
  }
  void on_use() {
    if (uses > 0) --uses;
  }
  bool is_live(Time now) const { return uses > 0 && now <= until; }
};

struct MemoryEntry {
  repository::ChunkPtr chunk;
  Need need;
};

// What the file level knows of a chunk. `version` is new with every admission, so a reader or
// writer that worked without the lock can tell whether the slot is still this chunk's.
struct FileEntry {
  uint64_t version = 0;
  uint32_t slot = 0;
  uint32_t size = 0;
  repository::ChunkPtr pending;  // not written yet, `slot` means nothing
  Need need;
  uint32_t reads = 0;  // from its slot, under way
};

// What judges go by, beside the entry. Thread-safe.
struct Outlook {
  std::atomic<Time::rep> now{0};
  std::atomic<double> remote_seconds, remote_seconds_per_byte, file_seconds;

  Time time() const { return Time(Nanos(now.load(std::memory_order_relaxed))); }
  double remote_cost(uint64_t bytes) const {
    return remote_seconds.load(std::memory_order_relaxed) +
           remote_seconds_per_byte.load(std::memory_order_relaxed) * static_cast<double>(bytes);
  }
};

struct Shard;

// Worth of an entry = probability of its use × what the guest would wait / its bytes.
struct MemoryJudge {
  const Shard* shard;
  const Outlook* outlook;
  Standing operator()(const ChunkId& id, const MemoryEntry& entry, uint64_t size,
                      uint8_t uses) const;
};
struct FileJudge {
  const Outlook* outlook;
  Standing operator()(const ChunkId& id, const FileEntry& entry, uint64_t size, uint8_t uses) const;
};

using MemoryLevel = S3Fifo<ChunkId, MemoryEntry, MemoryJudge>;
using FileLevel = S3Fifo<ChunkId, FileEntry, FileJudge>;

struct Counters {
  uint64_t memory_hits = 0, file_hits = 0, misses = 0;
  uint64_t evicted = 0, evicted_unused = 0, corrupt = 0;
};

struct alignas(64) Shard {
  Shard(const S3FifoOptions& memory_options, const S3FifoOptions& file_options,
        const Outlook& outlook)
      : memory(memory_options, MemoryJudge{this, &outlook}),
        file(file_options, FileJudge{&outlook}) {}
  // Returns whether anyone but the tier holds the chunk. Only the tier hands it out, under the
  // lock, so "no" stays true while the lock is held.
  bool is_in_use(const ChunkId& id, const MemoryEntry& entry) const {
    const FileEntry* const stored = file.peek(id);
    const bool is_pending = stored != nullptr && stored->pending == entry.chunk;
    return entry.chunk.use_count() > (is_pending ? 2 : 1);
  }

  mutable std::mutex mutex;  // guards all of the below
  MemoryLevel memory;
  FileLevel file;
  Counters counters;
  uint64_t next_version = 1;
  std::vector<MemoryLevel::Evicted> memory_evicted;  // empty between calls; kept for their room
  std::vector<FileLevel::Evicted> file_evicted;
};

// Ids of chunks whose slot or record is to be written. Thread-safe.
class WriteQueue {
 public:
  explicit WriteQueue(size_t ids_max) : ids_max_(ids_max) {}

  // Returns false if the queue is full.
  bool push(const ChunkId& id) {
    const std::scoped_lock lock(mutex_);
    if (ids_.size() >= ids_max_) return false;
    ids_.push_back(id);
    return true;
  }
  std::optional<ChunkId> pop() {
    const std::scoped_lock lock(mutex_);
    if (ids_.empty()) return std::nullopt;
    const ChunkId id = ids_.front();
    ids_.pop_front();
    return id;
  }

 private:
  const size_t ids_max_;
  std::mutex mutex_;
  std::deque<ChunkId> ids_;
};

struct Tier::Impl {
  Impl(const TierOptions& tier_options, std::unique_ptr<SlotFile> slot_file, uint64_t slot_count);

  Shard& shard(const ChunkId& id) const {
    // Not the bytes that the shard's own table hashes by.
    const uint32_t value = id.bytes[8] | uint32_t{id.bytes[9]} << 8 | uint32_t{id.bytes[10]} << 16;
    return *shards[value % shards.size()];
  }

  void set_costs(const FetchCosts& costs);
  repository::ChunkPtr use_in_memory(Shard& s, const ChunkId& id, Reader reader);
  void use_in_file(Shard& s, const ChunkId& id, Reader reader);
  uint32_t tenant_number(std::string_view tenant);
  void age_shares() const;
  void admit_to_memory(Shard& s, const repository::ChunkPtr& chunk, Admission admission,
                       std::vector<ChunkId>& unused, Reader reader = kNoReader);
  void admit_to_file(Shard& s, const repository::ChunkPtr& chunk, Admission admission,
                     std::vector<ChunkId>& unused, Reader reader = kNoReader);
  void left_memory(Shard& s, std::vector<ChunkId>& unused);
  void left_file(Shard& s, std::vector<ChunkId>& unused);
  static void departed(Shard& s, const ChunkId& id, bool was_unused, std::vector<ChunkId>& unused);
  void report(const std::vector<ChunkId>& unused) const;

  void restore(const std::vector<SlotRecord>& records);
  bool drop_unreadable(Shard& s, const ChunkId& id, const FileEntry& seen);
  Result<bool> write_one(const ChunkId& id, std::vector<ChunkId>& unused);
  Result<bool> write_pending(const ChunkId& id, const FileEntry& seen, bool probation,
                             std::vector<ChunkId>& unused);
  void forget_pending(const ChunkId& id, std::vector<ChunkId>& unused);
  void abandon_writes(const ChunkId& failed, const Error& error, std::vector<ChunkId>& unused);
  Result<size_t> write_back(size_t chunks_max, std::vector<ChunkId>& unused);
  bool accepts_writes();

  const std::unique_ptr<SlotFile> file;  // null: no file level
  Outlook outlook;
  const uint64_t memory_bytes_max;
  std::atomic<uint64_t> memory_limit;
  static constexpr Time::rep kNeverAged = std::numeric_limits<Time::rep>::min();
  const Nanos share_memory;
  std::atomic<Time::rep> aged_at{kNeverAged};
  std::mutex readers_mutex;  // guards the below, and orders changes of who reads
  std::array<uint32_t, kReadersMax> reader_counts{};     // how many disks go by the number
  std::map<std::string, uint32_t, std::less<>> tenants;  // that had a reader since the start
  uint32_t next_tenant = 0;
  std::vector<std::unique_ptr<Shard>> shards;
  WriteQueue queue;
  std::function<void(const ChunkId&)> evicted_unused_callback;
  std::atomic<uint64_t> write_back_dropped{0};
  std::atomic<uint64_t> corrupt_logged{0};

  // 0: the file is written; else how many more chunks are dropped before it is tried again.
  std::atomic<uint64_t> drops_before_retry{0};
  std::mutex writer_mutex;  // one writer; guards the below
  uint64_t next_sequence = 1;
  std::optional<Error> write_error;  // since the last write that went well
};

}  // namespace forerun::tier
