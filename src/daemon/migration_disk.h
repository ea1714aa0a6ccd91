// A VM's own writes on their way to the other host: what its overlay holds, in full.
#pragma once

#include <functional>

#include "core/result.h"
#include "disk/overlay.h"
#include "net/peer_connection.h"

namespace forerun::daemon {

// Returns the bytes of blocks with data that send_overlay() would send now.
uint64_t data_bytes(const disk::Overlay& overlay, uint64_t size_bytes);

// Sends every block that is not the image's. REQUIRES: nobody writes meanwhile. `on_bytes` is told
// of each piece.
Status send_overlay(disk::Overlay& overlay, uint64_t size_bytes, net::PeerConnection& to,
                    const std::function<void(uint64_t)>& on_bytes);
// Puts what comes into `overlay` until all is there and durable. ERRORS: kCorrupt, the overlay's.
Status receive_overlay(net::PeerConnection& from, uint64_t size_bytes, disk::Overlay& overlay);

}  // namespace forerun::daemon
