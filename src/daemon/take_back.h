// A migration that failed before its commit point: QEMU's side of it is ended here, and the guest,
// which ran nowhere else, goes on.
#pragma once

#include <functional>
#include <string>

#include "core/time.h"
#include "daemon/migration_pipe.h"
#include "vmm/migration_control.h"

namespace forerun::daemon {

struct TakeBack {
  vmm::MigrationControl& qemu;
  MigrationPipe* pipe = nullptr;  // QEMU's stream, if it is still open
  std::string socket_path;        // where QEMU is to send once its stream is cut
  bool may_cancel = true;         // not once it has switched to post-copy
  const Clock& clock;
  std::function<void()> wait;  // for a moment
};

// REQUIRES: no other host has run the guest, or will. ERRORS: what QEMU says; kTimedOut; the guest
// may stand still then.
Status take_back(const TakeBack& with);

}  // namespace forerun::daemon
