// How the two levels are kept as one. A shard's lock guards its part of both levels, so "in neither
// level any more" is decided in one place. A chunk enters the file level when it is inserted: until
// its slot is written it is `pending` there and holds its content in memory. Whether a chunk is on
// probation is the same in both levels.
// (Over 500 lines: what enters, is used, leaves and is written changes the same books under the
// same lock, and is checked best side by side.)
#include "tier/tier.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "core/log.h"
#include "tier/s3fifo.h"
#include "tier/slot_file.h"

namespace forerun::tier {
namespace {

using repository::Chunk;
using repository::ChunkPtr;

constexpr uint64_t kChunksPerShardMin = 16;
constexpr uint64_t kChargeMin = 4096;  // so that bookkeeping stays small beside what is counted
// After a failed write, so many chunks go unwritten before the file is tried again.
constexpr uint64_t kDropsBeforeRetry = 1024;

// What the file level knows of a chunk. `version` is new with every admission, so a reader or
// writer that worked without the lock can tell whether the slot is still this chunk's.
struct FileEntry {
  uint64_t version = 0;
  uint32_t slot = 0;
  uint32_t size = 0;
  ChunkPtr pending;  // not written yet, `slot` means nothing
};

using MemoryLevel = S3Fifo<ChunkId, ChunkPtr>;
using FileLevel = S3Fifo<ChunkId, FileEntry>;

struct Counters {
  uint64_t memory_hits = 0, file_hits = 0, misses = 0;
  uint64_t evicted = 0, evicted_unused = 0, corrupt = 0;
};

struct alignas(64) Shard {
  Shard(const S3FifoOptions& memory_options, const S3FifoOptions& file_options)
      : memory(memory_options), file(file_options) {}

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

uint64_t charge(const Chunk& chunk) { return std::max<uint64_t>(chunk.content.size(), kChargeMin); }

// Returns part `index` of `total` units dealt out to `parts`.
uint64_t part_of(uint64_t total, uint64_t parts, uint64_t index) {
  return total / parts + (index < total % parts ? 1 : 0);
}

}  // namespace

struct Tier::Impl {
  Impl(const TierOptions& tier_options, std::unique_ptr<SlotFile> slot_file, uint64_t slot_count)
      : file(std::move(slot_file)), queue(tier_options.write_back_chunks_max) {
    const TierOptions& o = tier_options;
    uint64_t chunks_min = std::max<uint64_t>(o.memory_bytes_max / repository::kChunkSize, 1);
    if (slot_count > 0) chunks_min = std::min(chunks_min, slot_count);
    const uint64_t count = std::clamp<uint64_t>(chunks_min / kChunksPerShardMin, 1, o.shards);
    const uint64_t memory_pages = o.memory_bytes_max / kChargeMin;
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t memory_bytes = part_of(memory_pages, count, i) * kChargeMin +
                                    (i == 0 ? o.memory_bytes_max % kChargeMin : 0);
      const uint64_t file_bytes = part_of(slot_count, count, i) * kSlotSize;
      shards.push_back(
          std::make_unique<Shard>(level_options(o, memory_bytes), level_options(o, file_bytes)));
    }
  }
  static S3FifoOptions level_options(const TierOptions& o, uint64_t bytes_max) {
    // Twice the chunks that fit: as many again are remembered.
    return {.bytes_max = bytes_max,
            .small_ratio = o.small_ratio,
            .probation_ratio = o.probation_ratio,
            .entries_expected = 2 * bytes_max / repository::kChunkSize};
  }

  Shard& shard(const ChunkId& id) const {
    // Not the bytes that the shard's own table hashes by.
    const uint32_t value = id.bytes[8] | uint32_t{id.bytes[9]} << 8 | uint32_t{id.bytes[10]} << 16;
    return *shards[value % shards.size()];
  }

  ChunkPtr use_in_memory(Shard& s, const ChunkId& id);
  void use_in_file(Shard& s, const ChunkId& id);
  void admit_to_memory(Shard& s, const ChunkPtr& chunk, Admission admission,
                       std::vector<ChunkId>& unused);
  void admit_to_file(Shard& s, const ChunkPtr& chunk, Admission admission,
                     std::vector<ChunkId>& unused);
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

// ---- what leaves

void Tier::Impl::departed(Shard& s, const ChunkId& id, bool was_unused,
                          std::vector<ChunkId>& unused) {
  ++s.counters.evicted;
  if (!was_unused) return;
  ++s.counters.evicted_unused;
  unused.push_back(id);
}

void Tier::Impl::left_memory(Shard& s, std::vector<ChunkId>& unused) {
  for (const auto& entry : s.memory_evicted) {
    if (!s.file.contains(entry.id)) departed(s, entry.id, entry.unused, unused);
  }
  s.memory_evicted.clear();
}

void Tier::Impl::left_file(Shard& s, std::vector<ChunkId>& unused) {
  for (const auto& entry : s.file_evicted) {
    // A pending one has no slot yet, or its writer will find it gone and release the slot itself.
    if (!entry.value.pending) file->release(entry.value.slot);
    if (!s.memory.contains(entry.id)) departed(s, entry.id, entry.unused, unused);
  }
  s.file_evicted.clear();
}

void Tier::Impl::report(const std::vector<ChunkId>& unused) const {
  if (!evicted_unused_callback) return;
  for (const ChunkId& id : unused) evicted_unused_callback(id);
}

// ---- what is used

// The file level hears of a use only when it raised the chunk's standing in memory: often enough to
// keep what is hot, rarely enough to keep hits cheap.
void Tier::Impl::use_in_file(Shard& s, const ChunkId& id) {
  const FileLevel::Use use = s.file.use(id);
  // The record still says probation; if the queue is full it will say so after a restart too, which
  // does no harm.
  if (use.ended_probation && !use.value->pending) std::ignore = queue.push(id);
}

ChunkPtr Tier::Impl::use_in_memory(Shard& s, const ChunkId& id) {
  if (const MemoryLevel::Use use = s.memory.use(id); use.value != nullptr) {
    ++s.counters.memory_hits;
    if (use.counted && file) use_in_file(s, id);
    return *use.value;
  }
  if (!file) return nullptr;
  const FileEntry* const entry = s.file.peek(id);
  if (entry == nullptr || !entry->pending) return nullptr;
  ++s.counters.memory_hits;
  ChunkPtr chunk = entry->pending;
  use_in_file(s, id);
  return chunk;
}

// ---- what enters

void Tier::Impl::admit_to_memory(Shard& s, const ChunkPtr& chunk, Admission admission,
                                 std::vector<ChunkId>& unused) {
  s.memory.insert(chunk->id, charge(*chunk), chunk, admission, s.memory_evicted);
  left_memory(s, unused);
}

void Tier::Impl::admit_to_file(Shard& s, const ChunkPtr& chunk, Admission admission,
                               std::vector<ChunkId>& unused) {
  if (!accepts_writes() || !queue.push(chunk->id)) {
    write_back_dropped.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  FileEntry entry{.version = s.next_version++,
                  .size = static_cast<uint32_t>(chunk->content.size()),
                  .pending = chunk};
  s.file.insert(chunk->id, kSlotSize, std::move(entry), admission, s.file_evicted);
  left_file(s, unused);
}

bool Tier::Impl::accepts_writes() {
  uint64_t left = drops_before_retry.load(std::memory_order_relaxed);
  while (left > 0 && !drops_before_retry.compare_exchange_weak(left, left - 1)) {
  }
  return left == 0;
}

void Tier::Impl::restore(const std::vector<SlotRecord>& records) {
  std::vector<ChunkId> unused;
  for (const SlotRecord& record : records) {
    Shard& s = shard(record.id);
    const FileEntry entry{.version = s.next_version++, .slot = record.slot, .size = record.size};
    const Admission admission = record.probation ? Admission::kPrefetch : Admission::kDemand;
    if (!s.file.restore(record.id, kSlotSize, entry, admission, s.file_evicted)) {
      file->release(record.slot);
    }
    left_file(s, unused);
    next_sequence = std::max(next_sequence, record.sequence + 1);
  }
  for (const auto& s : shards) s->counters = {};  // what did not fit was not evicted in this life
}

// ---- what is read back

// Drops a chunk that could not be read from the slot in `seen`. Returns whether the fault was the
// file's: not if the chunk had left that slot meanwhile, and another one was being written there.
bool Tier::Impl::drop_unreadable(Shard& s, const ChunkId& id, const FileEntry& seen) {
  {
    const std::scoped_lock lock(s.mutex);
    ++s.counters.misses;
    const FileEntry* const entry = s.file.peek(id);
    if (entry == nullptr || entry->version != seen.version) return false;
    ++s.counters.corrupt;
    s.file.erase(id);
  }
  file->wipe_and_release(seen.slot);
  return true;
}

// ---- what is written

// Returns whether anything was written.
Result<bool> Tier::Impl::write_one(const ChunkId& id, std::vector<ChunkId>& unused) {
  Shard& s = shard(id);
  FileEntry seen;
  bool probation = false;
  {
    const std::scoped_lock lock(s.mutex);
    const FileEntry* const entry = s.file.peek(id);
    if (entry == nullptr) return false;
    seen = *entry;
    probation = s.file.on_probation(id);
  }
  if (seen.pending) return write_pending(id, seen, probation, unused);

  const SlotRecord record{.id = id,
                          .slot = seen.slot,
                          .size = seen.size,
                          .probation = probation,
                          .sequence = next_sequence++};
  FR_CHECK(file->write_record(record));
  const std::scoped_lock lock(s.mutex);
  const FileEntry* const entry = s.file.peek(id);
  // Evicted meanwhile, the slot is free, or even another's: this thread is the only writer, so not
  // yet written again.
  return entry != nullptr && entry->version == seen.version;
}

Result<bool> Tier::Impl::write_pending(const ChunkId& id, const FileEntry& seen, bool probation,
                                       std::vector<ChunkId>& unused) {
  const std::optional<uint32_t> slot = file->take();
  if (!slot) {  // the few that are free are just being wiped
    forget_pending(id, unused);
    return false;
  }
  const SlotRecord record{.id = id,
                          .slot = *slot,
                          .size = seen.size,
                          .probation = probation,
                          .sequence = next_sequence++};
  if (Status written = file->write(record, seen.pending->content); !written) {
    file->release(*slot);
    return std::unexpected(std::move(written.error()));
  }
  Shard& s = shard(id);
  {
    const std::scoped_lock lock(s.mutex);
    FileEntry* const entry = s.file.peek(id);
    if (entry != nullptr && entry->version == seen.version) {
      entry->slot = *slot;
      entry->pending.reset();
      if (probation && !s.file.on_probation(id)) std::ignore = queue.push(id);
      return true;
    }
  }
  file->wipe_and_release(*slot);
  return false;
}

// Gives up writing a chunk. What was queued but not written leaves the file level.
void Tier::Impl::forget_pending(const ChunkId& id, std::vector<ChunkId>& unused) {
  Shard& s = shard(id);
  const std::scoped_lock lock(s.mutex);
  const FileEntry* const entry = s.file.peek(id);
  if (entry == nullptr || !entry->pending) return;
  write_back_dropped.fetch_add(1, std::memory_order_relaxed);
  s.file_evicted.push_back(*s.file.erase(id));
  left_file(s, unused);
}

// The file takes no more: nothing that waits for it is written, what is stored stays readable.
void Tier::Impl::abandon_writes(const ChunkId& failed, const Error& error,
                                std::vector<ChunkId>& unused) {
  if (!write_error) {
    log::warn("tier: nothing more is kept on disk for now: {}", error.message);
  }
  write_error = error;
  drops_before_retry = kDropsBeforeRetry;
  forget_pending(failed, unused);
  while (const std::optional<ChunkId> id = queue.pop()) forget_pending(*id, unused);
}

Result<size_t> Tier::Impl::write_back(size_t chunks_max, std::vector<ChunkId>& unused) {
  const std::scoped_lock lock(writer_mutex);
  size_t written = 0;
  while (written < chunks_max) {
    const std::optional<ChunkId> id = queue.pop();
    if (!id) break;
    Result<bool> wrote = write_one(*id, unused);
    if (!wrote) {
      abandon_writes(*id, wrote.error(), unused);
      return std::unexpected(std::move(wrote.error()));
    }
    if (!*wrote) continue;
    ++written;
    if (std::exchange(write_error, std::nullopt)) log::info("tier: the file is written again");
  }
  return written;
}

// ---- the interface

Tier::Tier(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Tier::~Tier() = default;

Result<std::unique_ptr<Tier>> Tier::open(TierOptions options, std::unique_ptr<StorageFile> data,
                                         std::unique_ptr<StorageFile> index) {
  const auto is_ratio = [](double value) { return value >= 0 && value <= 1; };
  if (!is_ratio(options.small_ratio) || !is_ratio(options.probation_ratio) || options.shards == 0) {
    return fail(ErrorCode::kInvalid,
                "cannot open the tier: ratios are 0 to 1, and shards 1 or more");
  }
  if ((data == nullptr) != (index == nullptr)) {
    return fail(ErrorCode::kInvalid, "cannot open the tier: data and index go together");
  }
  const uint64_t slot_count =
      std::min<uint64_t>(options.file_bytes_max / kSlotSize, std::numeric_limits<uint32_t>::max());
  SlotFile::Opened opened;
  if (data != nullptr && slot_count > 0) {
    auto result =
        SlotFile::open(std::move(data), std::move(index), static_cast<uint32_t>(slot_count));
    if (result) {
      opened = std::move(*result);
    } else {
      log::warn("tier: nothing is kept on disk: {}", result.error().message);
    }
  }
  const uint64_t usable_slots = opened.file ? slot_count : 0;
  auto impl = std::make_unique<Impl>(options, std::move(opened.file), usable_slots);
  impl->restore(opened.records);
  return std::unique_ptr<Tier>(new Tier(std::move(impl)));
}

ChunkPtr Tier::find_in_memory(const ChunkId& id) {
  Shard& s = impl_->shard(id);
  const std::scoped_lock lock(s.mutex);
  return impl_->use_in_memory(s, id);
}

ChunkPtr Tier::find(const ChunkId& id, Level* level) {
  Level ignored{};
  Level& found = level == nullptr ? ignored : *level;
  Shard& s = impl_->shard(id);
  FileEntry seen;
  {
    const std::scoped_lock lock(s.mutex);
    found = Level::kMemory;
    if (ChunkPtr chunk = impl_->use_in_memory(s, id)) return chunk;
    found = Level::kNone;
    const FileEntry* const entry = s.file.peek(id);
    if (entry == nullptr) {
      ++s.counters.misses;
      return nullptr;
    }
    impl_->use_in_file(s, id);
    seen = *entry;
  }
  Result<Buffer> content = impl_->file->read(seen.slot, seen.size);
  if (!content || !repository::verify_content(id, *content)) {
    if (impl_->drop_unreadable(s, id, seen)) {
      // The 1st, 2nd, 4th, 8th…: a dying disk must not fill the log.
      const uint64_t count = ++impl_->corrupt_logged;
      if (std::has_single_bit(count)) {
        log::warn("tier: chunk {} in slot {} is dropped: {} ({} so far)", id.hex(), seen.slot,
                  content ? "its content is not what its id says" : content.error().message, count);
      }
    }
    return nullptr;
  }
  auto chunk = std::make_shared<const Chunk>(Chunk{id, std::move(*content)});
  std::vector<ChunkId> unused;
  {
    const std::scoped_lock lock(s.mutex);
    ++s.counters.file_hits;
    impl_->admit_to_memory(s, chunk, Admission::kDemand, unused);
  }
  impl_->report(unused);
  found = Level::kFile;
  return chunk;
}

Level Tier::where(const ChunkId& id) const {
  Shard& s = impl_->shard(id);
  const std::scoped_lock lock(s.mutex);
  if (s.memory.contains(id)) return Level::kMemory;
  const FileEntry* const entry = s.file.peek(id);
  if (entry == nullptr) return Level::kNone;
  return entry->pending ? Level::kMemory : Level::kFile;
}

void Tier::insert(ChunkPtr chunk, Admission admission) {
  FR_ASSERT(chunk && !chunk->content.empty() && chunk->content.size() <= repository::kChunkSize);
  const ChunkId& id = chunk->id;
  Shard& s = impl_->shard(id);
  std::vector<ChunkId> unused;
  {
    const std::scoped_lock lock(s.mutex);
    const bool in_memory = s.memory.contains(id);
    const bool in_file = s.file.contains(id);
    const bool on_probation = s.memory.on_probation(id) || s.file.on_probation(id);
    if (admission == Admission::kDemand && on_probation) {
      if (in_memory) s.memory.use(id);
      if (in_file) impl_->use_in_file(s, id);
    }
    // What is here already and was used does not go back on probation.
    const bool used = admission == Admission::kDemand || ((in_memory || in_file) && !on_probation);
    const Admission as = used ? Admission::kDemand : Admission::kPrefetch;
    if (!in_memory) impl_->admit_to_memory(s, chunk, as, unused);
    if (!in_file && impl_->file) impl_->admit_to_file(s, chunk, as, unused);
    if (!s.memory.contains(id) && !s.file.contains(id)) {
      Impl::departed(s, id, as == Admission::kPrefetch, unused);  // there was no room for it at all
    }
  }
  impl_->report(unused);
}

void Tier::erase(const ChunkId& id) {
  Shard& s = impl_->shard(id);
  std::optional<FileLevel::Evicted> from_file;
  bool was_unused = false;
  {
    const std::scoped_lock lock(s.mutex);
    const auto from_memory = s.memory.erase(id);
    from_file = s.file.erase(id);
    was_unused = (from_memory && from_memory->unused) || (from_file && from_file->unused);
    if (was_unused) ++s.counters.evicted_unused;
  }
  if (from_file && !from_file->value.pending) impl_->file->wipe_and_release(from_file->value.slot);
  if (was_unused) impl_->report({id});
}

Result<size_t> Tier::write_back(size_t chunks_max) {
  if (!impl_->file) return 0;
  std::vector<ChunkId> unused;
  Result<size_t> written = impl_->write_back(chunks_max, unused);
  impl_->report(unused);
  return written;
}

Status Tier::sync() {
  if (!impl_->file) return {};
  FR_CHECK(write_back(std::numeric_limits<size_t>::max()));
  {
    const std::scoped_lock lock(impl_->writer_mutex);
    if (impl_->write_error) return std::unexpected(*impl_->write_error);
  }
  return impl_->file->flush();
}

void Tier::on_evicted_unused(std::function<void(const ChunkId&)> callback) {
  impl_->evicted_unused_callback = std::move(callback);
}

TierStats Tier::stats() const {
  TierStats total;
  for (const auto& s : impl_->shards) {
    const std::scoped_lock lock(s->mutex);
    total.memory_hits += s->counters.memory_hits;
    total.file_hits += s->counters.file_hits;
    total.misses += s->counters.misses;
    total.memory_bytes += s->memory.bytes();
    total.file_bytes += s->file.bytes();
    total.probation_bytes += s->memory.probation_bytes() + s->file.probation_bytes();
    total.evicted += s->counters.evicted;
    total.evicted_unused += s->counters.evicted_unused;
    total.corrupt += s->counters.corrupt;
  }
  total.write_back_dropped = impl_->write_back_dropped.load(std::memory_order_relaxed);
  return total;
}

}  // namespace forerun::tier
