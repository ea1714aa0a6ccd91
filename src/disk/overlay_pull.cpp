// A pulled overlay: from the runs of another host's to the last block that has come.
#include <fmt/format.h>

#include "disk/overlay_impl.h"

namespace forerun::disk {
namespace {

Status take_runs(std::span<const BlockRun> runs, BlockMap& map) {
  uint64_t at = 0;
  for (const BlockRun& run : runs) {
    const bool is_known = run.state == BlockState::kData || run.state == BlockState::kZero;
    if (!is_known || run.count == 0 || run.first < at || run.first > map.block_count() ||
        run.count > map.block_count() - run.first) {
      return fail(
          ErrorCode::kInvalid,
          fmt::format("blocks {}+{} in state {} behind block {} cannot be of a disk of {} "
                      "blocks",
                      run.first, run.count, static_cast<int>(run.state), at, map.block_count()));
    }
    at = run.end();
    const bool is_data = run.state == BlockState::kData;
    map.set(run.first, at, is_data ? BlockState::kRemote : BlockState::kZero,
            BlockMap::Mark::kClean);
  }
  return {};
}

}  // namespace

// The journal says it first: if we are killed before the live map does, its blocks that are base
// still leave in force what the journal says.
Status Overlay::Impl::begin_pull(uint64_t id, std::span<const BlockRun> runs) {
  if (pull_id != 0 || map.find_other(0, BlockState::kBase) != map.block_count())
    return fail(ErrorCode::kExists, fmt::format("overlay {} holds blocks already", name));
  BlockMap pulled(map.block_count());
  if (auto taken = take_runs(runs, pulled); !taken)
    return std::unexpected(std::move(taken.error()).within(fmt::format("overlay {}", name)));
  const Turn turn(*this);
  if (given_up) return std::unexpected(*given_up);
  journal->set_pull(id);
  const Buffer snapshot = journal->encode_snapshot(pulled);
  if (auto written = journal->write_snapshot(snapshot); !written) {
    journal->set_pull(0);
    return written;
  }
  if (auto adopted = journal->adopt_snapshot(); !adopted)
    return give_up(std::move(adopted.error()), "replacing its map");
  journal_bytes = journal->bytes();
  FR_CHECK(take_runs(runs, map));
  pull_id = id;
  if (!live) return {};
  Status status;
  map.for_each_run([&](const BlockRun& run) {
    if (status) status = live->set(run.first, run.end(), run.state);
  });
  return status;
}

// The guest's writes hold the same lock, so a block that is remote here is still as it was frozen.
Status Overlay::Impl::put_remote(uint64_t offset, ByteView arrived) {
  const uint64_t first = offset / kOverlayBlockSize;
  const uint64_t end = round_up(offset + arrived.size(), kOverlayBlockSize) / kOverlayBlockSize;
  const RangeLock::Guard guard(locks, first, end);
  uint64_t block = map.find(first, end, BlockState::kRemote);
  while (block < end) {
    const uint64_t stop = map.run_end(block, end, BlockState::kRemote);
    const ByteRange part = intersect(
        {block * kOverlayBlockSize, (stop - block) * kOverlayBlockSize}, {offset, arrived.size()});
    FR_CHECK(write_data(part.offset, arrived.subspan(part.offset - offset, part.length)));
    FR_CHECK(change(block, stop, BlockState::kData));
    block = map.find(stop, end, BlockState::kRemote);
  }
  return {};
}

// The next flush writes the map anew, and without the name of where its blocks were.
Status Overlay::Impl::end_pull() {
  FR_ASSERT(map.remote_blocks() == 0);
  if (pull_id == 0) return {};
  ends_pull = true;
  return flush();
}

Status Overlay::begin_pull(uint64_t pull_id, std::span<const BlockRun> runs) {
  FR_ASSERT(pull_id != 0);
  return impl_->begin_pull(pull_id, runs);
}

uint64_t Overlay::pull_id() const { return impl_->pull_id; }
uint64_t Overlay::remote_blocks() const { return impl_->map.remote_blocks(); }

ByteRange Overlay::next_remote(ByteRange range) const {
  const BlockMap& map = impl_->map;
  range = intersect(range, {0, impl_->options.size_bytes});
  if (range.empty()) return {};
  const uint64_t end = round_up(range.end(), kOverlayBlockSize) / kOverlayBlockSize;
  const uint64_t first = map.find(range.offset / kOverlayBlockSize, end, BlockState::kRemote);
  // It may have arrived between the two looks.
  const uint64_t stop = map.run_end(first, end, BlockState::kRemote);
  return intersect({first * kOverlayBlockSize, (stop - first) * kOverlayBlockSize},
                   {0, impl_->options.size_bytes});
}

Status Overlay::put_remote(uint64_t offset, ByteView data) {
  FR_ASSERT(offset % kOverlayBlockSize == 0 && (data.size() % kOverlayBlockSize == 0 ||
                                                offset + data.size() == impl_->options.size_bytes));
  return data.empty() ? Status{} : impl_->put_remote(offset, data);
}

Status Overlay::end_pull() { return impl_->end_pull(); }

}  // namespace forerun::disk
