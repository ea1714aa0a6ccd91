// How much memory there is to have, and how long tasks wait for it: for the host, and for the
// cgroup (v2) this process is limited by.
#pragma once

#include <cstdint>
#include <string>

#include "core/result.h"

namespace forerun::os {

struct MemoryPressure {
  uint64_t total_bytes = 0;      // the host's, or the tightest cgroup's limit if that is less
  uint64_t available_bytes = 0;  // without swapping; the least of the host's and each cgroup's
  double stall_ratio = 0;  // share of the last 10 s in which some task waited for memory (PSI)
};

// Reads `root`/proc/meminfo, `root`/proc/pressure/memory, and memory.{max,high,current,stat,
// pressure} of this process's cgroup and its parents. What is not there (no PSI in the kernel, no
// cgroup v2, no limit) does not count. ERRORS: kIo, kNotFound, kCorrupt of meminfo.
Result<MemoryPressure> read_memory_pressure(const std::string& root = "");

// Gives back to the system what was freed in this process: after much has been.
void release_freed_memory();

}  // namespace forerun::os
