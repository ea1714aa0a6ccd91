// Fleets larger than any trace, of the VMs of one.
#pragma once

#include <cstdint>

#include "trace/vm_trace.h"

namespace forerun::place {

// Returns a trace of `vms` VMs, each a random one of `trace` shifted in time by up to an hour, what
// leaves at one end coming in at the other, and its demand scaled by 0.8 to 1.25. The same seed
// gives the same fleet. REQUIRES: `trace` has a VM.
trace::VmTrace grow(const trace::VmTrace& trace, size_t vms, uint64_t seed);

}  // namespace forerun::place
