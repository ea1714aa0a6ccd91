// The frames in which a sender of a guest's memory speaks to its receiver, one after the other on a
// reliable stream: type, be32 length, payload. docs/format_memory.md.
#pragma once

#include <optional>

#include "core/big_endian.h"
#include "migrate/page_records.h"

namespace forerun::migrate {

inline constexpr uint32_t kMemoryMagic = 0x46524d4d;  // "FRMM"
inline constexpr uint16_t kMemoryVersion = 1;
inline constexpr size_t kFrameHeadBytes = 5;
inline constexpr size_t kFramePayloadMax = 512 * kKiB;
inline constexpr size_t kBatchPlainMax = 256 * kKiB;

enum class FrameType : uint8_t {
  kHello = 1,   // magic, be16 version, be32 kept pages, be32 recent pages
  kStream = 2,  // QEMU's bytes, untouched
  kPages = 3,   // u8 codec, be32 plain bytes, the batch
  kResume = 4,  // a new stream of QEMU's goes on after a cut; what both sides kept is forgotten
  kPackedStream = 5,  // as kStream: u8 codec, be32 plain bytes, the bytes, packed
};

struct Frame {
  FrameType type = FrameType::kHello;
  ByteView payload;
};

// Returns the first frame of `in`, or nothing where more bytes are needed. ERRORS: kCorrupt: no
// frame; kTooLarge.
Result<std::optional<Frame>> read_frame(ByteView in);

void write_hello(const TableLimits& limits, Buffer& out);
// ERRORS: kUnsupported: another version; kCorrupt.
Result<TableLimits> read_hello(ByteView payload);
// Writes a frame's head; the payload follows, of `payload_bytes`.
void write_frame_head(FrameType type, size_t payload_bytes, Buffer& out);
// Writes `bytes` in as many frames as they need.
void write_stream(ByteView bytes, Buffer& out);
// Writes a frame of bytes that were packed with `codec` from `plain_bytes`.
void write_packed(FrameType type, uint8_t codec, size_t plain_bytes, ByteView packed, Buffer& out);

}  // namespace forerun::migrate
