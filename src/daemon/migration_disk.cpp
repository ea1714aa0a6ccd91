#include "daemon/migration_disk.h"

#include "core/big_endian.h"

namespace forerun::daemon {
namespace {

constexpr uint64_t kPieceBytes = 256 * kKiB;
constexpr uint64_t kStepBytes = 64 * kMiB;
constexpr size_t kHeadBytes = 1 + 8 + 4;
constexpr auto kChannel = net::PeerChannel::kDiskBulk;

enum class PieceKind : uint8_t { kData = 1, kZero = 2, kEnd = 3 };

void write_head(PieceKind kind, ByteRange range, Buffer& out) {
  BigEndianWriter writer;
  writer.u8(static_cast<uint8_t>(kind));
  writer.u64(range.offset);
  writer.u32(static_cast<uint32_t>(range.length));
  out = writer.take();
}

Status for_each_run(const disk::Overlay& overlay, uint64_t size_bytes,
                    const std::function<Status(const disk::OverlayRun&)>& visit) {
  std::vector<disk::OverlayRun> runs;
  for (uint64_t at = 0; at < size_bytes; at += kStepBytes) {
    runs.clear();
    overlay.look_up({at, std::min(kStepBytes, size_bytes - at)}, runs);
    for (const disk::OverlayRun& run : runs)
      if (run.state != disk::BlockState::kBase) FR_CHECK(visit(run));
  }
  return {};
}

Status send_run(disk::Overlay& overlay, const disk::OverlayRun& run, net::PeerConnection& to,
                const std::function<void(uint64_t)>& on_bytes) {
  const bool is_zero = run.state == disk::BlockState::kZero;
  Buffer piece;
  for (uint64_t at = run.range.offset; at < run.range.end();) {
    const ByteRange range{at, std::min(is_zero ? kStepBytes : kPieceBytes, run.range.end() - at)};
    write_head(is_zero ? PieceKind::kZero : PieceKind::kData, range, piece);
    if (!is_zero) {
      piece.resize(kHeadBytes + range.length);
      FR_CHECK(overlay.read(at, MutableByteView(piece).subspan(kHeadBytes)));
      on_bytes(range.length);
    }
    FR_CHECK(to.write(kChannel, piece));
    at += range.length;
  }
  return {};
}

}  // namespace

uint64_t data_bytes(const disk::Overlay& overlay, uint64_t size_bytes) {
  uint64_t bytes = 0;
  [[maybe_unused]] const Status visited =
      for_each_run(overlay, size_bytes, [&](const disk::OverlayRun& run) -> Status {
        if (run.state == disk::BlockState::kData) bytes += run.range.length;
        return {};
      });
  return bytes;
}

Status send_overlay(disk::Overlay& overlay, uint64_t size_bytes, net::PeerConnection& to,
                    const std::function<void(uint64_t)>& on_bytes) {
  FR_CHECK(for_each_run(overlay, size_bytes, [&](const disk::OverlayRun& run) {
    return send_run(overlay, run, to, on_bytes);
  }));
  Buffer end;
  write_head(PieceKind::kEnd, {}, end);
  return to.write(kChannel, end);
}

Status receive_overlay(net::PeerConnection& from, uint64_t size_bytes, disk::Overlay& overlay) {
  // Pieces are whole blocks, so nothing of the image is ever needed to fill them up.
  const auto no_base = [](ByteRange, MutableByteView) -> Status {
    return fail(ErrorCode::kCorrupt, "the other host sent a part of a block");
  };
  std::array<std::byte, kHeadBytes> head;
  Buffer data;
  for (;;) {
    FR_CHECK(from.read_exact(kChannel, head));
    BigEndianReader reader(head);
    const auto kind = static_cast<PieceKind>(reader.u8());
    const ByteRange range{reader.u64(), reader.u32()};
    if (kind == PieceKind::kEnd) return overlay.flush();
    const uint64_t length_max = kind == PieceKind::kZero ? kStepBytes : kPieceBytes;
    if ((kind != PieceKind::kData && kind != PieceKind::kZero) || range.empty() ||
        range.length > length_max || !fits(range, size_bytes))
      return fail(ErrorCode::kCorrupt,
                  fmt::format("the other host sent {} bytes at {} of a disk of {} bytes",
                              range.length, range.offset, size_bytes));
    if (kind == PieceKind::kZero) {
      FR_CHECK(overlay.write_zeroes(range, true, no_base));
      continue;
    }
    data.resize(range.length);
    FR_CHECK(from.read_exact(kChannel, data));
    FR_CHECK(overlay.write(range.offset, data, no_base));
  }
}

}  // namespace forerun::daemon
