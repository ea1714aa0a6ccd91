// TAP devices: Ethernet devices whose other end is a descriptor.
#pragma once

#include <string>

#include "core/result.h"
#include "os/file.h"

namespace forerun::os {

// Makes the TAP device `name` in a network namespace (a file such as /run/netns/NAME; empty: in
// ours) and returns its end: non-blocking, each read and write a virtio_net_hdr of 10 bytes and an
// Ethernet frame, with checksums and TCP segmentation left to whoever needs them. The device goes
// when the descriptor is closed. Call from a process with one thread, or whose other threads do not
// mind: this thread is in the other namespace for a moment. ERRORS: kDenied (not root), kNotFound,
// kExists.
Result<Fd> open_tap(const std::string& name_space, const std::string& name);

// Returns where `ip netns` keeps a namespace of that name.
std::string namespace_path(const std::string& name);

}  // namespace forerun::os
