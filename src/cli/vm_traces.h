// Reads traces of VMs from folders, for the commands that work without a daemon.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "trace/vm_trace.h"

namespace forerun::cli {

struct NamedVmTrace {
  std::string name;  // of the folder or file
  trace::VmTrace trace;
};

// Reads the folder `path`, or each folder in it: files that end in .csv are Bitbrains', all others
// PlanetLab's. A `path` that is a file is what `forerun usage export` wrote, each of its cores
// counting `core_mhz`. ERRORS: with the file and the line; kInvalid for an empty folder.
Result<std::vector<NamedVmTrace>> read_vm_traces(const std::string& path, double core_mhz);

}  // namespace forerun::cli
