// What enters the tier, is used, leaves, and is read back.
#include "tier/tier.h"

#include <algorithm>
#include <bit>

#include "core/log.h"
#include "tier/tier_impl.h"

namespace forerun::tier {

using repository::Chunk;
using repository::ChunkPtr;

namespace {

void end_read(Shard& s, const ChunkId& id, const FileEntry& seen) {
  FileEntry* const entry = s.file.peek(id);
  if (entry != nullptr && entry->version == seen.version) --entry->reads;
}

uint64_t charge(const Chunk& chunk) { return std::max<uint64_t>(chunk.content.size(), kChargeMin); }

}  // namespace

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
  // A writer that has nothing to write yet may run while the callback is being set.
  if (unused.empty() || !evicted_unused_callback) return;
  for (const ChunkId& id : unused) evicted_unused_callback(id);
}

// ---- what is used

// The file level hears of a use only when it raised the chunk's standing in memory: often enough to
// keep what is hot, rarely enough to keep hits cheap.
void Tier::Impl::use_in_file(Shard& s, const ChunkId& id, Reader reader) {
  const FileLevel::Use use = s.file.use(id, reader);
  if (use.value != nullptr && (use.counted || use.ended_probation)) use.value->need.on_use();
  // The record still says probation; if the queue is full it will say so after a restart too, which
  // does no harm.
  if (use.ended_probation && !use.value->pending) std::ignore = queue.push(id);
}

ChunkPtr Tier::Impl::use_in_memory(Shard& s, const ChunkId& id, Reader reader) {
  if (const MemoryLevel::Use use = s.memory.use(id, reader); use.value != nullptr) {
    ++s.counters.memory_hits;
    if (use.counted) use.value->need.on_use();
    if (use.counted && file) use_in_file(s, id, reader);
    return use.value->chunk;
  }
  if (!file) return nullptr;
  const FileEntry* const entry = s.file.peek(id);
  if (entry == nullptr || !entry->pending) return nullptr;
  ++s.counters.memory_hits;
  ChunkPtr chunk = entry->pending;
  use_in_file(s, id, reader);
  return chunk;
}

// ---- what enters

void Tier::Impl::admit_to_memory(Shard& s, const ChunkPtr& chunk, Admission admission,
                                 std::vector<ChunkId>& unused, Reader reader) {
  MemoryEntry entry{.chunk = chunk};
  // What was foreseen of it in the file, holds here too.
  if (const FileEntry* const stored = s.file.peek(chunk->id)) entry.need = stored->need;
  s.memory.insert(chunk->id, charge(*chunk), std::move(entry), admission, s.memory_evicted, reader);
  left_memory(s, unused);
}

void Tier::Impl::admit_to_file(Shard& s, const ChunkPtr& chunk, Admission admission,
                               std::vector<ChunkId>& unused, Reader reader) {
  if (!accepts_writes() || !queue.push(chunk->id)) {
    write_back_dropped.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  FileEntry entry{.version = s.next_version++,
                  .size = static_cast<uint32_t>(chunk->content.size()),
                  .pending = chunk};
  s.file.insert(chunk->id, kSlotSize, std::move(entry), admission, s.file_evicted, reader);
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

ChunkPtr Tier::find_in_memory(const ChunkId& id, Reader reader) {
  Shard& s = impl_->shard(id);
  const std::scoped_lock lock(s.mutex);
  return impl_->use_in_memory(s, id, reader);
}

ChunkPtr Tier::find(const ChunkId& id, Level* level, Reader reader) {
  Level ignored{};
  Level& found = level == nullptr ? ignored : *level;
  Shard& s = impl_->shard(id);
  FileEntry seen;
  {
    const std::scoped_lock lock(s.mutex);
    found = Level::kMemory;
    if (ChunkPtr chunk = impl_->use_in_memory(s, id, reader)) return chunk;
    found = Level::kNone;
    FileEntry* const entry = s.file.peek(id);
    if (entry == nullptr) {
      ++s.counters.misses;
      return nullptr;
    }
    impl_->use_in_file(s, id, reader);
    ++entry->reads;  // so that the slot stays this chunk's
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
    end_read(s, id, seen);
    impl_->admit_to_memory(s, chunk, Admission::kDemand, unused, reader);
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

void Tier::insert(ChunkPtr chunk, Admission admission, Reader reader) {
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
      if (in_memory) s.memory.use(id, reader);
      if (in_file) impl_->use_in_file(s, id, reader);
    }
    // What is here already and was used does not go back on probation.
    const bool used = admission == Admission::kDemand || ((in_memory || in_file) && !on_probation);
    const Admission as = used ? Admission::kDemand : Admission::kPrefetch;
    if (!in_memory) impl_->admit_to_memory(s, chunk, as, unused, reader);
    if (!in_file && impl_->file) impl_->admit_to_file(s, chunk, as, unused, reader);
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
