// What is remembered of a lab that is up: its plan, and the processes that were started for it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "lab/plan.h"
#include "os/process.h"

namespace forerun::cli {

struct LabRecord {
  lab::Plan plan;
  std::string boot_id;    // the boot of this machine in which the processes mean something
  os::ProcessId network;  // the switch; pid 0: not started yet
  std::vector<os::ProcessId> hosts;  // forerund of each of plan.hosts
};

inline constexpr int kLabRecordVersion = 1;
inline constexpr size_t kLabRecordBytesMax = 64 * 1024;

std::string encode_lab(const LabRecord& record);
// ERRORS: kCorrupt, kUnsupported for another version.
Result<LabRecord> decode_lab(std::string_view text);

std::string lab_record_path(const std::string& folder);
Status save_lab(const LabRecord& record);
// ERRORS: kNotFound: no lab is up in that folder; decode_lab's.
Result<LabRecord> load_lab(const std::string& folder);

// Returns whether a process that was recorded still runs.
bool is_running(const LabRecord& record, const os::ProcessId& process);

}  // namespace forerun::cli
