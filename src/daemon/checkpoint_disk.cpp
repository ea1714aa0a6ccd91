#include "daemon/checkpoint_disk.h"

#include <algorithm>

#include "daemon/disk_gate.h"

namespace forerun::daemon {
namespace {

using disk::BlockState;
using repository::kChunkSize;

Status no_base(ByteRange, MutableByteView) {
  return fail(ErrorCode::kInternal, "a checkpoint holds a part of a block");
}

}  // namespace

Status store_parts(disk::Overlay& overlay, uint64_t size_bytes,
                   const std::vector<uint64_t>& numbers, CheckpointStore& store, DiskParts& parts,
                   uint64_t& stored_bytes, iosched::IoClass io_class) {
  const DiskGate::Purpose purpose(VmId{}, io_class);
  std::vector<disk::OverlayRun> runs;
  Buffer content;
  for (const uint64_t number : numbers) {
    const ByteRange range = intersect({number * kChunkSize, kChunkSize}, {0, size_bytes});
    runs.clear();
    overlay.look_up(range, runs);
    content.assign(range.length, std::byte{0});
    bool has_data = false;
    for (const disk::OverlayRun& run : runs) {
      if (run.state != BlockState::kData) continue;
      has_data = true;
      FR_CHECK(overlay.read(
          run.range.offset,
          MutableByteView(content).subspan(run.range.offset - range.offset, run.range.length)));
    }
    if (!has_data) {
      parts.erase(number);
      continue;
    }
    FR_TRY(parts[number], store.put(content, stored_bytes));
  }
  return {};
}

Status restore_parts(const disk::CheckpointIndex& index, CheckpointStore& store,
                     disk::Overlay& overlay) {
  std::map<uint64_t, repository::ChunkRef> parts;
  for (const auto& part : index.parts) parts.emplace(part.number, part.chunk);
  for (const disk::BlockRun& run : index.runs) {
    ByteRange range =
        intersect({run.first * disk::kOverlayBlockSize, run.count * disk::kOverlayBlockSize},
                  {0, index.disk_bytes});
    if (run.state == BlockState::kZero) {
      FR_CHECK(overlay.write_zeroes(range, true, no_base));
      continue;
    }
    while (!range.empty()) {
      const uint64_t number = range.offset / kChunkSize;
      const auto part = parts.find(number);
      if (part == parts.end())
        return fail(ErrorCode::kCorrupt,
                    fmt::format("the checkpoint lacks the disk's bytes at {}", range.offset));
      FR_TRY(const Buffer content, store.get(part->second));
      const ByteRange piece = intersect(range, {number * kChunkSize, content.size()});
      if (piece.empty())
        return fail(ErrorCode::kCorrupt,
                    fmt::format("the checkpoint's part {} of the disk is short", number));
      FR_CHECK(overlay.write(
          piece.offset, ByteView(content).subspan(piece.offset - number * kChunkSize, piece.length),
          no_base));
      range = {piece.end(), range.end() - piece.end()};
    }
  }
  return overlay.flush();
}

}  // namespace forerun::daemon
