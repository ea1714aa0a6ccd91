// Signals that ask a command to end, for those that must leave things in order first.
#pragma once

#include "core/result.h"
#include "os/file.h"

namespace forerun::cli {

// Blocks SIGTERM, SIGHUP and SIGINT. Returns a descriptor that becomes readable when one came.
// ERRORS: kIo.
Result<os::Fd> catch_end_signals();

}  // namespace forerun::cli
