// The tier's writer: queued chunks to the file, and what becomes of those that cannot be written.
#include <limits>

#include "core/log.h"
#include "tier/tier_impl.h"

namespace forerun::tier {

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

}  // namespace forerun::tier
