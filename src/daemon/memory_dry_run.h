// A pre-copy that goes nowhere: what a guest's memory is like and which pages it writes, while it
// runs on. docs/migration_memory.md.
#pragma once

#include <functional>
#include <string>

#include "core/time.h"
#include "migrate/memory_profile.h"
#include "vmm/migration_control.h"

namespace forerun::daemon {

// Has QEMU migrate into a socket at `socket_path` until enough is known or `patience` is over.
// Leaves the guest running and QEMU ready for another migration. ERRORS: QEMU's; kTimedOut.
Result<migrate::MemoryProfile> dry_run(vmm::MigrationControl& qemu, const std::string& socket_path,
                                       Nanos patience, const Clock& clock);

}  // namespace forerun::daemon
