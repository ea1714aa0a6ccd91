// Forerun's own history as a trace of VMs: what `forerun usage export` writes (docs/usage.md), a
// header and then "unix_seconds,entity,metric,mean,max", a point a line.
#pragma once

#include <string>

#include "core/storage_file.h"
#include "trace/vm_trace.h"

namespace forerun::trace {

// Reads the VMs of one file; other entities and metrics are passed over. A VM asks for what it ran
// and what it waited to run (cpu_cores + cpu_wait_cores); it has as many cores as it ever asked
// for, rounded up, each of `core_mhz`; its memory is the most that was resident. Points are
// averaged over `interval_s`, gaps filled forward. ERRORS: kInvalid or kTooLarge with `label` and
// the line; kInvalid if no VM is in it; kIo.
Result<VmTrace> read_usage_export(StorageFile& file, const std::string& label, double core_mhz,
                                  uint32_t interval_s, const VmTraceLimits& limits);

}  // namespace forerun::trace
