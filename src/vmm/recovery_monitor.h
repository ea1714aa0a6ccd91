// The way to a QEMU that takes in a guest's memory behind the guest, and whose main loop may wait
// for a page of it: then it answers nothing on its control socket, and takes no new client there.
// A second monitor, on FIFOs, has been negotiated with before; on it QEMU obeys out of band,
// whoever opens them, also after a restart of the daemon. SOURCE: QEMU docs/interop/qmp-spec.txt,
// "Out-of-band execution"; docs/devel/migration.rst, "Recovery".
#pragma once

#include <string>

#include "core/result.h"

namespace forerun::vmm {

// Returns where that monitor's FIFOs are, but for ".in" and ".out": beside QEMU's control socket.
std::string recovery_monitor_path(const std::string& qmp_socket);
// Makes the FIFOs; QEMU opens them at its start.
Status make_recovery_monitor(const std::string& qmp_socket);
// REQUIRES: once, and before anything can wait.
Status negotiate_recovery(const std::string& qmp_socket);
// Has QEMU listen at `socket_path` for the rest of a migration. ERRORS: kInvalid: it is not paused;
// kUnavailable: QEMU has ended; kNotFound: it has no such monitor.
Status recover_incoming(const std::string& qmp_socket, const std::string& socket_path);
// Throws away what QEMU told there meanwhile: it keeps what nobody reads. REQUIRES: no other call
// meanwhile.
void drain_recovery_monitor(const std::string& qmp_socket);

}  // namespace forerun::vmm
