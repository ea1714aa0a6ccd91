#pragma once

#include "disk/crashable_folder.h"
#include "disk/overlay.h"
#include "disk/power_cut_checker.h"

// What the overlay's tests share: a small disk with a short last block, over a stamped base.
namespace forerun::disk {

inline constexpr uint64_t kSize = 40 * kOverlayBlockSize + 1000;  // its last block is short

inline Overlay::Options options_of(uint64_t size = kSize) {
  return {.size_bytes = size, .base = sha256(as_bytes("image")), .owner_token = 5};
}

inline std::unique_ptr<Overlay> open(StorageFolder& folder,
                                     Overlay::Options options = options_of()) {
  return Overlay::open(folder, "disk", options).value();
}

inline ErrorCode error_of_open(StorageFolder& folder, Overlay::Options options) {
  const auto overlay = Overlay::open(folder, "disk", options);
  return overlay ? ErrorCode::kInternal : overlay.error().code;
}

inline Buffer filled(size_t size, int value) { return Buffer(size, static_cast<std::byte>(value)); }

inline Buffer base_of(ByteRange range) {
  Buffer content(range.length);
  read_stamped_base(range, content).value();
  return content;
}

inline Status no_base(ByteRange, MutableByteView) {
  return fail(ErrorCode::kInternal, "the base was asked for without need");
}

}  // namespace forerun::disk
