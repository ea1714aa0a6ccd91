// Where a pulled overlay's blocks come from: the overlay of a VM that left another host, frozen
// since the VM stopped there. The other host's side reads its own overlay (FrozenOverlay); this
// host's side asks over the link between them.
#pragma once

#include <cstdint>
#include <vector>

#include "core/bytes.h"
#include "core/id.h"
#include "core/result.h"
#include "disk/overlay.h"
#include "disk/request_log.h"
#include "iosched/scheduler.h"

namespace forerun::disk {

// What an overlay held when it was frozen.
struct OverlayContents {
  uint64_t pull_id = 0;  // names the freeze; not 0. Another freeze has another one.
  uint64_t size_bytes = 0;
  Digest base;                 // the image's index digest
  std::vector<BlockRun> runs;  // kData and kZero, in order
  // What the guest asked for last, oldest first; blocks may be any. A hint, and no more.
  std::vector<LoggedRequest> requests;
};

// For channels: little-endian, see docs/format_overlay.md. The reader checks nothing but the form
// (Overlay::begin_pull checks the runs). ERRORS: kCorrupt, kUnsupported.
Buffer serialize(const OverlayContents& contents);
Result<OverlayContents> parse_overlay_contents(ByteView bytes);

// Returns the checksum that goes with a piece: of its bytes and of where they stand in which
// frozen overlay, so that a piece in the wrong place is found too.
uint64_t piece_checksum(uint64_t pull_id, uint64_t offset, ByteView data);

// Thread-safe: many threads read at once.
class OverlaySource {
 public:
  static constexpr uint64_t kReadMax = 256 * kKiB;  // of one read

  virtual ~OverlaySource() = default;

  virtual Result<OverlayContents> contents() = 0;
  // Reads whole blocks (the disk's last may be short) that were kData at the freeze, and returns
  // what piece_checksum says of them at the source; the caller compares. Blocks until they are
  // here. `io_class` is for who carries it: what a guest waits for goes first, background last.
  // ERRORS: kUnavailable: no link now, or stop() was called; kInvalid: no such blocks there;
  // kDenied: another freeze, or released; kIo, kCorrupt of the source's disk.
  virtual Result<uint64_t> read(ByteRange range, MutableByteView out,
                                iosched::IoClass io_class) = 0;
  // Ends every read under way with kUnavailable, now and from now on.
  virtual void stop() = 0;
};

}  // namespace forerun::disk
