// What a VM's record says of it, for the API.
#pragma once

#include "api/service.h"
#include "daemon/config.h"
#include "vmm/vm_record.h"

namespace forerun::daemon {

// Returns whether the VM is a disk only: its hypervisor is somebody else's.
bool is_disk_only(const vmm::VmRecord& record);

// Returns all but state, detail and process.
api::VmInfo describe_vm(const vmm::VmRecord& record, const Config& config);

}  // namespace forerun::daemon
