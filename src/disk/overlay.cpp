#include "disk/overlay.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "core/log.h"
#include "disk/overlay_impl.h"

namespace forerun::disk {
namespace {

using BlockBuffer = std::array<std::byte, kOverlayBlockSize>;

const std::array<std::byte, 64 * kKiB> kZeroes{};
constexpr uint64_t kRewriteWindow = 1 << 20;

}  // namespace

Status Overlay::Impl::open() {
  const bool map_is_new = !folder.exists(name + ".map");
  if (map_is_new && folder.exists(name + ".data")) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("overlay {}: its data file is here, but its map is missing", name));
  }
  FR_TRY(journal, OverlayJournal::open(folder, name + ".map", journal_options(), map));
  journal_bytes = journal->bytes();
  pull_id = journal->pull_id();
  FR_CHECK(open_data(map_is_new));
  FR_CHECK(open_live());
  return live && live->found_unfinished_flush() ? rewrite_data() : Status{};
}

OverlayJournal::Options Overlay::Impl::journal_options() const {
  return {.size_bytes = options.size_bytes,
          .base = options.base,
          .bytes_max = options.journal_bytes_max,
          .owner_token = options.owner_token};
}

Status Overlay::Impl::open_data(bool map_is_new) {
  const std::string file_name = name + ".data";
  if (!folder.exists(file_name)) {
    if (!map_is_new && map.data_blocks() > 0) {
      return fail(ErrorCode::kCorrupt, fmt::format("overlay {}: its data file is missing", name));
    }
    // Through replace(), so that the name is durable before anything in the file is.
    FR_TRY(const auto fresh, folder.open(file_name + ".new", true));
    FR_CHECK(fresh->resize(options.size_bytes));
    FR_CHECK(fresh->flush());
    FR_CHECK(folder.replace(file_name + ".new", file_name));
  }
  FR_TRY(data, folder.open(file_name, false));
  return {};
}

Status Overlay::Impl::open_live() {
  const std::string file_name = name + ".live";
  if (options.boot_token == 0) {
    // Nobody keeps it up to date from now on, so the next opening must not believe it.
    return folder.exists(file_name) ? folder.remove(file_name) : Status{};
  }
  FR_TRY(live, LiveMap::open(folder, file_name,
                             {.boot_token = options.boot_token, .base = options.base}, map));
  return {};
}

// The flush that a predecessor on this kernel began has failed, or nobody knows. Which pages the
// kernel dropped cannot be asked, so all are made dirty again with what they show. REQUIRES: it
// runs before anyone may flush.
Status Overlay::Impl::rewrite_data() {
  log::warn(
      "overlay {}: the last flush of its data file failed or was cut off; writing its {} blocks "
      "again",
      name, map.data_blocks());
  Status status;
  map.for_each_run([&](const BlockRun& run) {
    if (status && run.state == BlockState::kData) status = rewrite_run(run);
  });
  if (status) {
    status = data->flush();
    if (!status) status.error() = std::move(status.error()).within("flushing the data file");
  }
  if (!status) {
    return std::unexpected(
        std::move(status.error())
            .within(fmt::format("overlay {} cannot be opened: an earlier flush failed, and writing "
                                "its data again failed too",
                                name)));
  }
  return live->mark_flush(false);
}

Status Overlay::Impl::rewrite_run(const BlockRun& run) {
  const ByteRange whole = intersect({run.first * kOverlayBlockSize, run.count * kOverlayBlockSize},
                                    {0, options.size_bytes});
  Buffer window(std::min(whole.length, kRewriteWindow));
  for (uint64_t at = whole.offset; at < whole.end(); at += window.size()) {
    const MutableByteView part =
        MutableByteView(window).first(std::min<uint64_t>(window.size(), whole.end() - at));
    Status status = data->read(at, part);
    if (status) status = data->write(at, part);
    if (!status) {
      return std::unexpected(
          std::move(status.error()).within(fmt::format("bytes {}+{}", at, part.size())));
    }
  }
  return {};
}

Status Overlay::Impl::write_data(uint64_t offset, ByteView bytes) {
  if (bytes.empty()) return {};
  FR_CHECK(data->write(offset, bytes));
  is_data_dirty.store(true, std::memory_order_release);
  return {};
}

// The data stands in the data file before the map says so, in the live map and in memory.
Status Overlay::Impl::change(uint64_t first, uint64_t end, BlockState state) {
  if (map.run_end(first, end, state) == end) return {};
  if (live) FR_CHECK(live->set(first, end, state));
  map.set(first, end, state, BlockMap::Mark::kDirty);
  return {};
}

// Writes what `written` leaves of a block that is not in the data file yet.
Status Overlay::Impl::fill_around(uint64_t block, ByteRange written, const ReadBase& read_base) {
  const BlockState state = map.state(block);
  const ByteRange whole = bytes_of(block);
  const ByteRange covered = intersect(whole, written);
  if (state == BlockState::kData || covered == whole) return {};
  if (state == BlockState::kRemote) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("overlay {}: block {} is not here yet, and a write covers it in part",
                            name, block));
  }
  BlockBuffer buffer{};
  const MutableByteView content = MutableByteView(buffer).first(whole.length);
  if (state == BlockState::kBase) FR_CHECK(read_base(whole, content));
  const uint64_t before = covered.offset - whole.offset;
  const uint64_t behind = whole.end() - covered.end();
  FR_CHECK(write_data(whole.offset, content.first(before)));
  return write_data(covered.end(), content.last(behind));
}

Status Overlay::Impl::put(uint64_t offset, ByteView bytes, const ReadBase& read_base) {
  const ByteRange range{offset, bytes.size()};
  const uint64_t first = offset / kOverlayBlockSize;
  const uint64_t last = (range.end() - 1) / kOverlayBlockSize;
  if (map.run_end(first, last + 1, BlockState::kData) == last + 1) return write_data(offset, bytes);
  FR_CHECK(fill_around(first, range, read_base));
  if (last != first) FR_CHECK(fill_around(last, range, read_base));
  FR_CHECK(write_data(offset, bytes));
  return change(first, last + 1, BlockState::kData);
}

Status Overlay::Impl::put_zeroes(ByteRange range, const ReadBase& read_base) {
  while (!range.empty()) {
    // Cut where a block ends: only the range's own ends may need the image.
    const uint64_t cut = round_down(range.offset + kZeroes.size(), kOverlayBlockSize);
    const uint64_t length = std::min(range.end(), cut) - range.offset;
    FR_CHECK(put(range.offset, ByteView(kZeroes).first(length), read_base));
    range = {range.offset + length, range.length - length};
  }
  return {};
}

// Makes whole blocks zero and gives back the space of those that had some.
Status Overlay::Impl::punch(ByteRange blocks) {
  const uint64_t first = blocks.offset / kOverlayBlockSize;
  const uint64_t end = round_up(blocks.end(), kOverlayBlockSize) / kOverlayBlockSize;
  std::vector<ByteRange> held;
  for (uint64_t block = first; block < end;) {
    const BlockState state = map.state(block);
    const uint64_t stop = std::max(map.run_end(block, end, state), block + 1);
    if (state == BlockState::kData) {
      held.push_back({block * kOverlayBlockSize, (stop - block) * kOverlayBlockSize});
    }
    block = stop;
  }
  FR_CHECK(change(first, end, BlockState::kZero));
  for (const ByteRange& range : held) {
    is_data_dirty.store(true, std::memory_order_release);
    const Status punched = data->punch(intersect(range, {0, options.size_bytes}));
    // The blocks read as zeroes all the same; only their space is still taken.
    if (!punched) log::warn("overlay {}: {}", name, punched.error().message);
  }
  return {};
}

Overlay::Overlay(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Overlay::~Overlay() = default;

Result<std::unique_ptr<Overlay>> Overlay::open(StorageFolder& folder, const std::string& name,
                                               Options options) {
  if (options.size_bytes == 0) return fail(ErrorCode::kInvalid, "an overlay of 0 bytes");
  auto impl = std::make_unique<Impl>(folder, name, options);
  FR_CHECK(impl->open());
  return std::unique_ptr<Overlay>(new Overlay(std::move(impl)));
}

void Overlay::look_up(ByteRange range, std::vector<OverlayRun>& runs) const {
  const BlockMap& map = impl_->map;
  const uint64_t end = round_up(range.end(), kOverlayBlockSize) / kOverlayBlockSize;
  uint64_t block = range.offset / kOverlayBlockSize;
  while (!range.empty() && block < end) {
    const BlockState state = map.state(block);
    // A block may change between the two reads; the run then holds just this one.
    const uint64_t stop = std::max(map.run_end(block, end, state), block + 1);
    const ByteRange run{block * kOverlayBlockSize, (stop - block) * kOverlayBlockSize};
    runs.push_back({intersect(run, range), state});
    block = stop;
  }
}

Status Overlay::read(uint64_t offset, MutableByteView out) {
  return impl_->data->read(offset, out);
}

Status Overlay::write(uint64_t offset, ByteView data, const ReadBase& read_base) {
  if (data.empty()) return {};
  const RangeLock::Guard guard(impl_->locks, offset / kOverlayBlockSize,
                               (offset + data.size() - 1) / kOverlayBlockSize + 1);
  return impl_->put(offset, data, read_base);
}

Status Overlay::write_zeroes(ByteRange range, bool may_punch, const ReadBase& read_base) {
  if (range.empty()) return {};
  const RangeLock::Guard guard(impl_->locks, range.offset / kOverlayBlockSize,
                               (range.end() - 1) / kOverlayBlockSize + 1);
  if (!may_punch) return impl_->put_zeroes(range, read_base);
  const uint64_t size = impl_->options.size_bytes;
  const uint64_t first = round_up(range.offset, kOverlayBlockSize);
  const uint64_t end = range.end() == size ? size : round_down(range.end(), kOverlayBlockSize);
  const auto zero_part = [&](ByteRange part) -> Status {
    // A block of zeroes stays one.
    if (part.empty() || impl_->map.state(part.offset / kOverlayBlockSize) == BlockState::kZero) {
      return {};
    }
    return impl_->put_zeroes(part, read_base);
  };
  if (end <= first) {  // within one block, or the edges of two
    const uint64_t middle = std::min(first, range.end());
    FR_CHECK(zero_part({range.offset, middle - range.offset}));
    return zero_part({middle, range.end() - middle});
  }
  FR_CHECK(zero_part({range.offset, first - range.offset}));
  FR_CHECK(impl_->punch({first, end - first}));
  return zero_part({end, range.end() - end});
}

Status Overlay::flush() { return impl_->flush(); }

std::vector<BlockRun> Overlay::runs() const {
  std::vector<BlockRun> runs;
  impl_->map.for_each_run([&](const BlockRun& run) { runs.push_back(run); });
  return runs;
}

uint64_t Overlay::allocated_bytes() const { return impl_->map.data_blocks() * kOverlayBlockSize; }

Overlay::Stats Overlay::stats() const {
  const std::lock_guard lock(impl_->flush_mutex);
  return {.flush_calls = impl_->flush_calls,
          .flush_runs = impl_->flushes_begun,
          .journal_bytes = impl_->journal_bytes.load(),
          .rewrites = impl_->rewrites.load()};
}

}  // namespace forerun::disk
