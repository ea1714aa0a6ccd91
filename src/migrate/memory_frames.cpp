#include "migrate/memory_frames.h"

#include <algorithm>

namespace forerun::migrate {

Result<std::optional<Frame>> read_frame(ByteView in) {
  BigEndianReader reader(in);
  const uint8_t type = reader.u8();
  const uint32_t length = reader.u32();
  if (!reader.good()) return std::nullopt;
  if (type < static_cast<uint8_t>(FrameType::kHello) ||
      type > static_cast<uint8_t>(FrameType::kPackedStream))
    return fail(ErrorCode::kCorrupt, fmt::format("a frame of type {}", type));
  if (length > kFramePayloadMax)
    return fail(ErrorCode::kTooLarge, fmt::format("a frame of {} bytes", length));
  const ByteView payload = reader.bytes(length);
  if (!reader.good()) return std::nullopt;
  return Frame{static_cast<FrameType>(type), payload};
}

void write_frame_head(FrameType type, size_t payload_bytes, Buffer& out) {
  BigEndianWriter head;
  head.u8(static_cast<uint8_t>(type));
  head.u32(static_cast<uint32_t>(payload_bytes));
  out.insert(out.end(), head.view().begin(), head.view().end());
}

void write_hello(const TableLimits& limits, Buffer& out) {
  BigEndianWriter hello;
  hello.u32(kMemoryMagic);
  hello.u16(kMemoryVersion);
  hello.u32(limits.kept_pages);
  hello.u32(limits.recent_pages);
  write_frame_head(FrameType::kHello, hello.view().size(), out);
  out.insert(out.end(), hello.view().begin(), hello.view().end());
}

Result<TableLimits> read_hello(ByteView payload) {
  BigEndianReader reader(payload);
  const uint32_t magic = reader.u32();
  const uint16_t version = reader.u16();
  const TableLimits limits{reader.u32(), reader.u32()};
  if (!reader.good() || magic != kMemoryMagic)
    return fail(ErrorCode::kCorrupt, "this is no sender of a guest's memory");
  if (version != kMemoryVersion || reader.left() > 0)
    return fail(ErrorCode::kUnsupported,
                fmt::format("the sender speaks version {} of the memory's frames, this host {}",
                            version, kMemoryVersion));
  return limits;
}

void write_stream(ByteView bytes, Buffer& out) {
  while (!bytes.empty()) {
    const ByteView part = bytes.first(std::min(bytes.size(), kFramePayloadMax));
    write_frame_head(FrameType::kStream, part.size(), out);
    out.insert(out.end(), part.begin(), part.end());
    bytes = bytes.subspan(part.size());
  }
}

void write_packed(FrameType type, uint8_t codec, size_t plain_bytes, ByteView packed, Buffer& out) {
  BigEndianWriter head;
  head.u8(codec);
  head.u32(static_cast<uint32_t>(plain_bytes));
  write_frame_head(type, head.view().size() + packed.size(), out);
  out.insert(out.end(), head.view().begin(), head.view().end());
  out.insert(out.end(), packed.begin(), packed.end());
}

}  // namespace forerun::migrate
