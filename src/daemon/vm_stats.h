// What was fetched ahead for a VM and what came of it, as the API says it.
#pragma once

#include "api/service.h"
#include "daemon/foresight.h"

namespace forerun::daemon {

void add_prefetching(const Foresight::Reading& reading, api::VmStats& stats);

}  // namespace forerun::daemon
