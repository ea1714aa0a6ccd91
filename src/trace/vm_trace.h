// Traces of what VMs used, a sample every few minutes: the input of the placement simulator.
//
// Two public forms are read. PlanetLab (Beloglazov & Buyya, CCPE 24(13), 2012): a file per VM, a
// line per sample of 300 s, each a whole percentage of the VM's CPU. Compact Bitbrains (from
// GWA-T-12; Shen, van Beek, Iosup, CCGrid 2015): a file per VM; a line
// "#cores,MHz provisioned,MB provisioned" stands at the start and at every change; a line of
// seven says "seconds since the row before, CPU in permille of the provisioned, MB used, disk read
// KB/s, written, network received KB/s, sent"; the first row's time is absolute.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/storage_file.h"

namespace forerun::trace {

struct VmSeries {
  std::string name;
  double capacity_mhz = 0;             // the most that was provisioned; 0: the trace does not say
  uint32_t memory_mb = 0;              // as capacity_mhz
  std::vector<uint16_t> cpu_permille;  // of capacity_mhz, one per interval
  // Each empty if the trace does not say, else one per interval.
  std::vector<uint32_t> memory_used_mb;
  std::vector<uint32_t> network_kb_per_s;  // received and sent
};

struct VmTrace {
  uint32_t interval_s = 300;
  std::vector<VmSeries> vms;  // by name, in byte order
};

struct VmTraceLimits {
  size_t samples_max = 1 << 20;  // of one VM
  size_t vms_max = 1 << 18;
};

// Reads one VM of a PlanetLab folder. `label` names the file in errors.
// ERRORS: kInvalid or kTooLarge with the line, kIo.
Result<VmSeries> read_planetlab_vm(StorageFile& file, const std::string& label, std::string name,
                                   const VmTraceLimits& limits);

// Rows of one VM of a compact Bitbrains folder, with their times.
struct TimedVm {
  struct Row {
    uint64_t second = 0;  // unix time
    double cpu_mhz = 0;
    uint32_t memory_used_mb = 0;
    uint32_t network_kb_per_s = 0;
  };
  std::string name;
  double capacity_mhz = 0;
  uint32_t memory_mb = 0;
  std::vector<Row> rows;
};
// ERRORS: as read_planetlab_vm.
Result<TimedVm> read_bitbrains_vm(StorageFile& file, const std::string& label, std::string name,
                                  const VmTraceLimits& limits);
// Puts the VMs on one grid of `interval_s` from the first row of all to the last, filled forward; 0
// before a VM's first row. Sorts them by name. REQUIRES: every VM has a row. ERRORS: kTooLarge.
Result<VmTrace> on_grid(std::vector<TimedVm> vms, uint32_t interval_s, const VmTraceLimits& limits);

}  // namespace forerun::trace
