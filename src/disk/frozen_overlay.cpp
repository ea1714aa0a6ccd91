#include "disk/frozen_overlay.h"

#include <fmt/format.h>

namespace forerun::disk {

Result<std::unique_ptr<FrozenOverlay>> FrozenOverlay::freeze(Overlay& overlay, uint64_t pull_id,
                                                             uint64_t size_bytes, Digest base,
                                                             std::vector<LoggedRequest> requests) {
  FR_ASSERT(pull_id != 0);
  if (overlay.remote_blocks() > 0 || overlay.pull_id() != 0) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("the disk is still being pulled from another host: {} blocks are not "
                            "here",
                            overlay.remote_blocks()));
  }
  FR_CHECK(overlay.flush());
  OverlayContents contents{.pull_id = pull_id,
                           .size_bytes = size_bytes,
                           .base = base,
                           .runs = overlay.runs(),
                           .requests = std::move(requests)};
  return std::unique_ptr<FrozenOverlay>(new FrozenOverlay(overlay, std::move(contents)));
}

Result<OverlayContents> FrozenOverlay::contents() { return contents_; }

Result<uint64_t> FrozenOverlay::read(ByteRange range, MutableByteView out, iosched::IoClass) {
  if (is_stopped_) return fail(ErrorCode::kUnavailable, "the disk is not given any more");
  const bool is_aligned =
      range.offset % kOverlayBlockSize == 0 &&
      (range.length % kOverlayBlockSize == 0 || range.end() == contents_.size_bytes);
  if (!fits(range, contents_.size_bytes) || range.empty() || range.length > kReadMax ||
      !is_aligned || out.size() != range.length) {
    return fail(ErrorCode::kInvalid, fmt::format("bytes {}+{} cannot be read of a disk of {}",
                                                 range.offset, range.length, contents_.size_bytes));
  }
  std::vector<OverlayRun> runs;
  overlay_.look_up(range, runs);
  if (runs.size() != 1 || runs.front().state != BlockState::kData) {
    return fail(ErrorCode::kInvalid,
                fmt::format("bytes {}+{} are not all of this overlay", range.offset, range.length));
  }
  FR_CHECK(overlay_.read(range.offset, out));
  return piece_checksum(contents_.pull_id, range.offset, out);
}

}  // namespace forerun::disk
