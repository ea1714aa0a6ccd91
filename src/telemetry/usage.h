// What the kernel tells of how a host and its processes are used: its texts, read, and what two
// readings say together. SOURCE: proc(5), Documentation/accounting/psi.rst,
// scheduler/sched-stats.rst.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "telemetry/history.h"

namespace forerun::telemetry {

// Since the host booted.
struct HostCounters {
  double busy_cpu_seconds = 0;  // of all CPUs, without what they waited for disks
  uint32_t cpus = 0;
  uint64_t memory_total_bytes = 0, memory_available_bytes = 0;
  // Seconds in which some task waited; nothing: this kernel has no PSI.
  std::optional<double> cpu_stall_seconds, memory_stall_seconds, io_stall_seconds;
};

// Since the process, a VM's, began: of all its threads.
struct ProcessCounters {
  double run_seconds = 0;
  double wait_seconds = 0;  // ready to run, while another ran
  uint64_t resident_bytes = 0;
  // Of the threads that run the guest's processors, by the number of the processor.
  std::map<uint32_t, double> vcpu_wait_seconds;
};

// Each returns nothing if the text does not say it.
// /proc/stat: `ticks_per_second` of its counts.
std::optional<HostCounters> parse_proc_stat(std::string_view text, double ticks_per_second);
// /proc/meminfo, into `counters`.
bool parse_meminfo(std::string_view text, HostCounters& counters);
// /proc/pressure/*: seconds of "some".
std::optional<double> parse_pressure(std::string_view text);
// /proc/PID/task/TID/schedstat, added to `counters`.
bool add_schedstat(std::string_view text, ProcessCounters& counters);
// Returns which processor of a guest a thread runs, by /proc/PID/task/TID/comm: QEMU with
// debug-threads=on calls them "CPU 0/KVM", "CPU 0/TCG".
std::optional<uint32_t> vcpu_of_thread(std::string_view comm);
// /proc/PID/statm: bytes resident.
std::optional<uint64_t> parse_statm(std::string_view text, uint64_t page_bytes);

struct MetricValue {
  std::string_view metric;
  double value = 0;
  std::optional<double> most;  // where it is a mean of several
};
// Returns what was used from one reading to the next, `seconds` apart. Counters that went back (a
// thread ended) count as still.
std::vector<MetricValue> usage_between(const HostCounters& before, const HostCounters& after,
                                       double seconds);
std::vector<MetricValue> usage_between(const ProcessCounters& before, const ProcessCounters& after,
                                       double seconds);

// Returns what a process, or a guest, would have run in cores, had it not waited: whoever works,
// then rests, does the same work in the time that is left. One that never rests would have run all
// the time. `waited` in cores; `cpus`: as many as it has, 0 counts as one.
double demand_cores(double ran, double waited, double cpus);

}  // namespace forerun::telemetry
