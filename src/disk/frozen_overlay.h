// The side of a pull that gives: the overlay of a VM that stopped here, read and never written.
#pragma once

#include <atomic>

#include "disk/overlay_source.h"

namespace forerun::disk {

// Thread-safe.
class FrozenOverlay final : public OverlaySource {
 public:
  // Makes the overlay durable as it is. `overlay` outlives this; REQUIRES: nobody writes to it any
  // more. ERRORS: kUnavailable: blocks of its own are still at yet another host; as Overlay::flush.
  static Result<std::unique_ptr<FrozenOverlay>> freeze(Overlay& overlay, uint64_t pull_id,
                                                       uint64_t size_bytes, Digest base,
                                                       std::vector<LoggedRequest> requests = {});

  Result<OverlayContents> contents() override;
  Result<uint64_t> read(ByteRange range, MutableByteView out, iosched::IoClass io_class) override;
  void stop() override { is_stopped_ = true; }

 private:
  FrozenOverlay(Overlay& overlay, OverlayContents contents)
      : overlay_(overlay), contents_(std::move(contents)) {}

  Overlay& overlay_;
  const OverlayContents contents_;
  std::atomic<bool> is_stopped_{false};
};

}  // namespace forerun::disk
