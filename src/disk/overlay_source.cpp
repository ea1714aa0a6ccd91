#include "disk/overlay_source.h"

#include <fmt/format.h>
#include <xxhash.h>

#include "core/codec.h"

namespace forerun::disk {
namespace {

constexpr uint32_t kMagic = 0x6f437246;  // "FrCo"
constexpr uint32_t kVersion = 1;
constexpr size_t kRunSize = 16;

}  // namespace

Buffer serialize(const OverlayContents& contents) {
  ByteWriter out;
  out.u32(kMagic);
  out.u32(kVersion);
  out.u64(contents.pull_id);
  out.u64(contents.size_bytes);
  out.bytes(std::as_bytes(std::span(contents.base.bytes)));
  out.u64(contents.runs.size());
  for (const BlockRun& run : contents.runs) {
    out.u64(run.first << 2 | static_cast<uint64_t>(run.state));
    out.u64(run.count);
  }
  out.u64(contents.requests.size());
  for (const LoggedRequest& request : contents.requests) out.u64(request.pack());
  return out.take();
}

Result<OverlayContents> parse_overlay_contents(ByteView bytes) {
  ByteReader in(bytes);
  const uint32_t magic = in.u32();
  const uint32_t version = in.u32();
  if (!in.good() || magic != kMagic) return fail(ErrorCode::kCorrupt, "no overlay's contents");
  if (version != kVersion) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("an overlay's contents of version {}; this program knows {}", version,
                            kVersion));
  }
  OverlayContents contents;
  contents.pull_id = in.u64();
  contents.size_bytes = in.u64();
  const ByteView base = in.bytes(contents.base.bytes.size());
  if (!base.empty()) std::memcpy(contents.base.bytes.data(), base.data(), base.size());
  const uint64_t count = in.u64();
  const auto refuse = [&] {
    return fail(ErrorCode::kCorrupt,
                fmt::format("an overlay's contents of {} bytes tell {} runs", bytes.size(), count));
  };
  if (!in.good() || count > in.left() / kRunSize) return refuse();
  contents.runs.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t packed = in.u64();
    contents.runs.push_back({packed >> 2, in.u64(), static_cast<BlockState>(packed & 3)});
  }
  const uint64_t requests = in.u64();
  if (!in.good() || requests > RequestLog::kRequests || in.left() != requests * sizeof(uint64_t))
    return refuse();
  for (uint64_t i = 0; i < requests; ++i)
    contents.requests.push_back(LoggedRequest::unpack(in.u64()));
  return contents;
}

uint64_t piece_checksum(uint64_t pull_id, uint64_t offset, ByteView data) {
  const uint64_t place[] = {pull_id, offset};
  return XXH3_64bits_withSeed(data.data(), data.size(), XXH3_64bits(place, sizeof place));
}

}  // namespace forerun::disk
