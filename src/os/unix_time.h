#pragma once

#include "core/time.h"

namespace forerun::os {

// Returns the time since the epoch by the host's clock, which may be set while it runs.
Nanos unix_time();

}  // namespace forerun::os
