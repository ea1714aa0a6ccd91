// How a VM's record says whether its disk is fetched ahead.
#pragma once

#include <string>

#include "api/service.h"
#include "vmm/vm_record.h"

namespace forerun::daemon {

api::PrefetchMode prefetch_mode(const vmm::VmRecord& record);
std::string prefetch_word(api::PrefetchMode mode);

}  // namespace forerun::daemon
