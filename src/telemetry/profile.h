// What an agent reports of its guest, once a period. Plain values; every member has a range
// (profile_fields.h), which writer, parser and schema share. docs/format_profile.md says what the
// members mean.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "telemetry/access_pattern.h"

namespace forerun::telemetry {

inline constexpr uint64_t kProfileVersion = 1;

struct ProcessCpu {
  uint64_t pid = 0;
  std::string name;  // as the kernel has it: at most 15 bytes
  double cores = 0;  // CPU time over time
  uint64_t rss_bytes = 0;
  bool operator==(const ProcessCpu&) const = default;
};

struct ThreadCpu {
  uint64_t pid = 0, tid = 0;
  std::string name;
  double cores = 0;
  bool operator==(const ThreadCpu&) const = default;
};

struct CpuProfile {
  uint64_t cores = 0;  // of the guest
  double busy_ratio = 0, steal_ratio = 0;
  std::vector<ProcessCpu> top;     // busiest first
  std::vector<ThreadCpu> threads;  // of the busiest processes that have several, busiest first
  bool operator==(const CpuProfile&) const = default;
};

struct MemoryProfile {
  uint64_t total_bytes = 0, available_bytes = 0;
  double minor_faults_per_s = 0, major_faults_per_s = 0;
  double refaults_per_s = 0;  // pages that came back after they were evicted
  double swap_in_pages_per_s = 0, swap_out_pages_per_s = 0;
  bool operator==(const MemoryProfile&) const = default;
};

// Of one process in one window, which is shorter than the report's period or longer.
struct WorkingSetProfile {
  uint64_t pid = 0;
  std::string name;
  double window_s = 0;
  uint64_t referenced_bytes = 0;  // touched in the window
  uint64_t dirty_bytes = 0;       // written in the window; 0 where the kernel does not say
  double change_ratio = 0;        // of referenced_bytes, against the window before: −1 … 1
  bool operator==(const WorkingSetProfile&) const = default;
};

struct PatternProfile {
  uint64_t pid = 0;
  std::string source;  // "faults": the order of first writes; "dirty": their set only
  uint64_t samples = 0;
  AccessFeatures features;
  PatternShares shares;
  bool operator==(const PatternProfile&) const = default;
};

struct DiskProfile {
  std::string name;
  double reads_per_s = 0, writes_per_s = 0;
  double read_bytes_per_s = 0, write_bytes_per_s = 0;
  double read_latency_us = 0, write_latency_us = 0;  // mean of the period; 0: none was done
  double busy_ratio = 0;
  bool operator==(const DiskProfile&) const = default;
};

struct NetworkProfile {
  std::string name;
  double rx_bytes_per_s = 0, tx_bytes_per_s = 0;
  double rx_packets_per_s = 0, tx_packets_per_s = 0;
  double drops_per_s = 0;
  bool operator==(const NetworkProfile&) const = default;
};

// Share of the last 10 s in which some task, or all that could run, waited.
struct PressureProfile {
  double cpu_some = 0, memory_some = 0, memory_full = 0, io_some = 0, io_full = 0;
  bool operator==(const PressureProfile&) const = default;
};

// Of the agent itself.
struct AgentProfile {
  double cpu_ratio = 0;  // of one core, since the profile before
  uint64_t rss_bytes = 0;
  uint64_t unsent = 0;  // profiles that nobody took, since the agent's start
  bool operator==(const AgentProfile&) const = default;
};

struct MissingMetric {
  std::string metric;
  std::string reason;
  bool operator==(const MissingMetric&) const = default;
};

struct Profile {
  uint64_t version = kProfileVersion;
  std::string instance;       // of this run of the agent: 32 hex digits
  uint64_t sequence = 0;      // counts up by one a profile
  uint64_t monotonic_ns = 0;  // the guest's clock
  uint64_t period_ms = 0;     // until the next one
  AgentProfile agent;
  std::optional<CpuProfile> cpu;
  std::optional<MemoryProfile> memory;
  std::optional<WorkingSetProfile> working_set;
  std::optional<PatternProfile> pattern;
  std::vector<DiskProfile> disks;
  std::vector<NetworkProfile> networks;
  std::optional<PressureProfile> pressure;
  std::vector<MissingMetric> missing;  // why something is not there
  bool operator==(const Profile&) const = default;
};

inline constexpr size_t kTopProcessesMax = 16;
inline constexpr size_t kTopThreadsMax = 16;
inline constexpr size_t kDisksMax = 16;
inline constexpr size_t kNetworksMax = 16;
inline constexpr size_t kMissingMax = 16;
inline constexpr size_t kProfileBytesMax = 16 << 10;  // of a line
inline constexpr size_t kProfileDepthMax = 4;

}  // namespace forerun::telemetry
