// The terminal on a VM's serial console.
#pragma once

#include <string>

#include "core/result.h"

namespace forerun::cli {

// Connects stdin and stdout to the unix socket at `path` until it closes, or Ctrl-] is typed, or a
// signal asks to end. A terminal is set to raw mode meanwhile and restored. Without a terminal, the
// end of stdin does not end the output. ERRORS: kUnavailable, kIo.
Status attach_console(const std::string& path);

}  // namespace forerun::cli
