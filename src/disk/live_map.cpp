#include "disk/live_map.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>

#include "core/codec.h"

namespace forerun::disk {
namespace {

constexpr uint64_t kMagic = 0x31764c6e75726546;  // "FerunLv1"
constexpr uint64_t kFlushMarkOffset = 512;
constexpr uint64_t kStatesOffset = 4096;
constexpr uint64_t kWindow = 1 << 20;

Buffer header_of(const LiveMap::Options& options, uint64_t block_count) {
  ByteWriter out;
  out.u64(kMagic);
  out.u64(options.boot_token);
  out.u64(block_count);
  out.bytes(std::as_bytes(std::span(options.base.bytes)));
  out.u64(XXH3_64bits(out.view().data(), out.size()));
  return out.take();
}

}  // namespace

Result<std::unique_ptr<LiveMap>> LiveMap::open(StorageFolder& folder, const std::string& file_name,
                                               Options options, BlockMap& map) {
  FR_TRY(auto file, folder.open(file_name, true));
  std::unique_ptr<LiveMap> live(new LiveMap(std::move(file)));
  const Buffer ours = header_of(options, map.block_count());
  Buffer found(ours.size());
  FR_CHECK(live->file_->read(0, found));
  if (found == ours) {
    FR_CHECK(live->load(map));
  } else {
    FR_CHECK(live->begin(ours, map));
  }
  return live;
}

Status LiveMap::load(BlockMap& map) {
  std::array<std::byte, 1> mark{};
  FR_CHECK(file_->read(kFlushMarkOffset, mark));
  found_unfinished_flush_ = mark[0] != std::byte{0};
  FR_TRY(const uint64_t size, file_->size());
  const uint64_t known = std::min(map.block_count(), size - std::min(size, kStatesOffset));
  Buffer window(std::min(known, kWindow));
  for (uint64_t first = 0; first < known; first += window.size()) {
    const MutableByteView part = MutableByteView(window).first(std::min(kWindow, known - first));
    FR_CHECK(file_->read(kStatesOffset + first, part));
    if (all_zero(part)) continue;
    for (size_t i = 0; i < part.size();) {
      const auto state = static_cast<BlockState>(part[i]);
      const size_t begin = i;
      while (i < part.size() && part[i] == part[begin]) ++i;
      if (state == BlockState::kBase) continue;
      if (state > BlockState::kRemote) {
        return fail(ErrorCode::kCorrupt, fmt::format("overlay's live map: block {} in state {}",
                                                     first + begin, static_cast<int>(state)));
      }
      map.set(first + begin, first + i, state, BlockMap::Mark::kDirty);
    }
  }
  return {};
}

// The header comes last: until it stands the file says nothing.
Status LiveMap::begin(ByteView header, const BlockMap& map) {
  FR_CHECK(file_->resize(0));
  Status status;
  map.for_each_run([&](const BlockRun& run) {
    if (status) status = set(run.first, run.end(), run.state);
  });
  FR_CHECK(std::move(status));
  return file_->write(0, header);
}

Status LiveMap::set(uint64_t first, uint64_t end, BlockState state) {
  std::array<std::byte, 8192> states;
  std::memset(states.data(), static_cast<int>(state),
              std::min<uint64_t>(end - first, states.size()));
  while (first < end) {
    const uint64_t count = std::min<uint64_t>(end - first, states.size());
    FR_CHECK(file_->write(kStatesOffset + first, ByteView(states).first(count)));
    first += count;
  }
  return {};
}

Status LiveMap::mark_flush(bool is_under_way) {
  const std::array mark{static_cast<std::byte>(is_under_way)};
  return file_->write(kFlushMarkOffset, mark);
}

}  // namespace forerun::disk
