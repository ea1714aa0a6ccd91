// A VM's network device on a bridge of the host.
#pragma once

#include <string>

#include "core/result.h"
#include "vmm/qemu_command.h"

namespace forerun::vmm {

// ERRORS: kNotFound: the host (its network namespace) has no such bridge; kDenied: we are not root,
// so QEMU could not make its TAP device.
Status check_bridge(const std::string& bridge);

// Puts the TAP device that a QEMU which runs has made on its bridge. The device is QEMU's: it goes
// with it. ERRORS: kIo, with the words of `ip`.
Status attach_to_bridge(const QemuOptions& options);

// Returns an address for a new VM, at random: 40 bits.
std::string random_mac();

}  // namespace forerun::vmm
