// What the guest's kernel has counted until now, read from /proc and /sys below a root that tests
// may give.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/time.h"
#include "telemetry/control.h"
#include "telemetry/profile.h"

namespace forerun::agent {

inline constexpr uint64_t kTicksPerSecond = 100;  // USER_HZ, of /proc/stat and /proc/PID/stat
inline constexpr uint64_t kPageBytes = 4096;
inline constexpr size_t kProcessesMax = 4096;  // looked at; more are passed over

struct ProcessCounters {
  std::string name;
  uint64_t start_ticks = 0;  // with the pid it names one process
  uint64_t cpu_ticks = 0;
  uint64_t minor_faults = 0;
  uint64_t rss_bytes = 0;
  uint64_t threads = 0;
};

// One's busiest threads are looked at, if it is among the busiest kThreadedMax that have several.
inline constexpr size_t kThreadedMax = 3;
inline constexpr size_t kThreadsOfOneMax = 32;

struct ThreadId {
  int pid = 0, tid = 0;
  auto operator<=>(const ThreadId&) const = default;
};

struct CpuCounters {
  uint64_t cores = 0, total_ticks = 0, idle_ticks = 0, steal_ticks = 0;
  std::map<int, ProcessCounters> processes;
  std::map<ThreadId, ProcessCounters> threads;  // of some processes
};

struct MemoryCounters {
  uint64_t total_bytes = 0, available_bytes = 0;
  uint64_t minor_faults = 0, major_faults = 0, refaults = 0, swap_in = 0, swap_out = 0;
  bool has_refaults = false;  // the kernel counts them
};

struct DiskCounters {
  uint64_t reads = 0, read_sectors = 0, read_ms = 0;
  uint64_t writes = 0, write_sectors = 0, write_ms = 0, busy_ms = 0;
};

struct NetworkCounters {
  uint64_t rx_bytes = 0, rx_packets = 0, tx_bytes = 0, tx_packets = 0, drops = 0;
};

struct Counters {
  Time at{};
  std::optional<CpuCounters> cpu;
  std::optional<MemoryCounters> memory;
  std::optional<std::map<std::string, DiskCounters>> disks;
  std::optional<std::map<std::string, NetworkCounters>> networks;
  std::optional<telemetry::PressureProfile> pressure;
  std::vector<telemetry::MissingMetric> missing;
};

// Returns the text of `path`, as far as it fits `bytes_max`, or nothing if it cannot be read.
std::optional<std::string> read_text(const std::string& path, size_t bytes_max = 256 << 10);

// Returns what /proc/PID/stat says, or nothing if the text is none of its.
std::optional<ProcessCounters> parse_process(std::string_view text);

// Reads the threads of the processes that were busiest since `before`.
void add_threads(const std::string& root, const CpuCounters& before, CpuCounters& after);

// Reads what `metrics` asks for. What cannot be read is named in `missing`, with the reason.
Counters read_counters(const std::string& root, telemetry::Metrics metrics, Time now);

// Returns the profile of what happened between the two: rates, and what is. Only what both have.
telemetry::Profile profile_between(const Counters& before, const Counters& after);

}  // namespace forerun::agent
