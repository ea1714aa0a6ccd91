// Reads traces of VMs from folders, for the commands that work without a daemon.
#pragma once

#include <string>
#include <vector>

#include "core/result.h"
#include "trace/vm_trace.h"

namespace forerun::cli {

struct NamedVmTrace {
  std::string name;  // of the folder
  trace::VmTrace trace;
};

// Reads the folder `path`, or each folder in it. Files that end in .csv are Bitbrains', all others
// PlanetLab's. ERRORS: with the file and the line; kInvalid for an empty folder.
Result<std::vector<NamedVmTrace>> read_vm_traces(const std::string& path);

}  // namespace forerun::cli
