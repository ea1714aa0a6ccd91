// Group commit, and the order of a flush.
#include <fmt/format.h>

#include "core/log.h"
#include "disk/overlay_impl.h"

namespace forerun::disk {

Status Overlay::Impl::give_up(Error error, std::string_view attempted) {
  error = std::move(error).within(
      fmt::format("overlay {}: {} failed, so writes since the last flush may be lost; no flush is "
                  "acknowledged until the overlay is opened again",
                  name, attempted));
  log::error("{}", error.message);
  {
    const std::lock_guard lock(flush_mutex);
    given_up = error;
  }
  return std::unexpected(std::move(error));
}

// Group commit: one caller flushes the files for all who arrived before it began. Who arrives later
// needs the next one, since a running flush need not cover a write that completed after its
// beginning.
Status Overlay::Impl::flush() {
  std::unique_lock lock(flush_mutex);
  ++flush_calls;
  const uint64_t needed = flushes_begun + 1;
  while (true) {
    if (given_up) return std::unexpected(*given_up);
    if (flushes_ended >= needed) {
      return last_good_flush >= needed ? Status{} : std::unexpected(*last_error);
    }
    if (is_flushing) {
      flush_ended.wait(lock);
      continue;
    }
    is_flushing = true;
    const uint64_t number = ++flushes_begun;
    lock.unlock();
    Status status = flush_files();
    lock.lock();
    is_flushing = false;
    flushes_ended = number;
    if (status) {
      last_good_flush = number;
    } else {
      last_error = std::move(status.error());
    }
    flush_ended.notify_all();
  }
}

Overlay::Impl::Turn::Turn(Impl& impl) : impl_(impl) {
  std::unique_lock lock(impl.flush_mutex);
  impl.flush_ended.wait(lock, [&] { return !impl.is_flushing; });
  impl.is_flushing = true;
}

Overlay::Impl::Turn::~Turn() {
  {
    const std::lock_guard lock(impl_.flush_mutex);
    impl_.is_flushing = false;
  }
  impl_.flush_ended.notify_all();
}

// The order that the durability law rests on: read which blocks changed; make the data durable;
// then write that they changed. A block that changes after the first step may have data that is not
// durable, so it waits for the next flush.
Status Overlay::Impl::flush_files() {
  const std::vector<BlockRun> changed = map.take_dirty();
  const bool ends = ends_pull.load();
  const bool rewrite = ends || (!changed.empty() && journal->is_full());
  if (ends) journal->set_pull(0);
  const Buffer snapshot = rewrite ? journal->encode_snapshot(map) : Buffer{};
  if (!is_data_dirty.exchange(false, std::memory_order_acq_rel) && changed.empty() && !ends)
    return {};
  if (auto owner = journal->check_owner(); !owner) {
    return give_up(std::move(owner.error()), "checking its owner");
  }
  // Marked before, since afterwards the mark might fail as the flush did.
  if (live) {
    if (auto marked = live->mark_flush(true); !marked) {
      is_data_dirty.store(true, std::memory_order_release);
      map.mark_dirty(changed);
      return std::unexpected(
          std::move(marked.error()).within(fmt::format("cannot flush overlay {}", name)));
    }
  }
  FR_CHECK(flush_data());
  return changed.empty() && !ends ? Status{} : commit(changed, snapshot, rewrite);
}

Status Overlay::Impl::flush_data() {
  if (auto status = data->flush(); !status) {
    return give_up(std::move(status.error()), "flushing its data file");
  }
  if (!live) return {};
  // A mark that stays costs the next opening time, and nothing else.
  if (auto cleared = live->mark_flush(false); !cleared) {
    log::warn("overlay {}: {}", name, cleared.error().message);
  }
  return {};
}

Status Overlay::Impl::commit(std::span<const BlockRun> changed, ByteView snapshot, bool rewrite) {
  Status written = rewrite ? journal->write_snapshot(snapshot) : journal->append(changed);
  if (!written) {
    map.mark_dirty(changed);
    return std::unexpected(
        std::move(written.error()).within(fmt::format("cannot flush overlay {}", name)));
  }
  Status durable = rewrite ? journal->adopt_snapshot() : journal->flush();
  if (!durable) return give_up(std::move(durable.error()), "flushing its map");
  journal_bytes = journal->bytes();
  pull_id = journal->pull_id();
  if (pull_id == 0) ends_pull = false;
  if (rewrite) ++rewrites;
  return {};
}

}  // namespace forerun::disk
