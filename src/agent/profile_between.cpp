#include <algorithm>

#include "agent/counters.h"

namespace forerun::agent {
namespace {

// Counters may begin anew (a device that was taken out and put back): then nothing was counted.
double grown(uint64_t before, uint64_t after) {
  return after > before ? static_cast<double>(after - before) : 0;
}

double over(double part, double whole) { return whole > 0 ? part / whole : 0; }

telemetry::CpuProfile cpu_between(const CpuCounters& before, const CpuCounters& after,
                                  double seconds) {
  telemetry::CpuProfile cpu;
  cpu.cores = after.cores;
  const double total = grown(before.total_ticks, after.total_ticks);
  const double idle = grown(before.idle_ticks, after.idle_ticks);
  cpu.steal_ratio = std::min(1.0, over(grown(before.steal_ticks, after.steal_ticks), total));
  cpu.busy_ratio = total > 0 ? std::clamp(1 - idle / total, 0.0, 1.0) : 0;
  for (const auto& [pid, process] : after.processes) {
    const auto past = before.processes.find(pid);
    const bool is_same =
        past != before.processes.end() && past->second.start_ticks == process.start_ticks;
    const double ticks = grown(is_same ? past->second.cpu_ticks : 0, process.cpu_ticks);
    // One that began in this period has all its time in it.
    if (ticks > 0)
      cpu.top.push_back({static_cast<uint64_t>(pid), process.name,
                         over(ticks / kTicksPerSecond, seconds), process.rss_bytes});
  }
  std::ranges::sort(cpu.top, [](const auto& a, const auto& b) {
    return a.cores != b.cores ? a.cores > b.cores : a.pid < b.pid;
  });
  if (cpu.top.size() > telemetry::kTopProcessesMax) cpu.top.resize(telemetry::kTopProcessesMax);
  // One that was not looked at before began no one knows when: it is told of next time.
  for (const auto& [id, thread] : after.threads) {
    const auto past = before.threads.find(id);
    if (past == before.threads.end() || past->second.start_ticks != thread.start_ticks) continue;
    const double ticks = grown(past->second.cpu_ticks, thread.cpu_ticks);
    if (ticks > 0)
      cpu.threads.push_back({static_cast<uint64_t>(id.pid), static_cast<uint64_t>(id.tid),
                             thread.name, over(ticks / kTicksPerSecond, seconds)});
  }
  std::ranges::sort(cpu.threads, [](const auto& a, const auto& b) {
    return a.cores != b.cores ? a.cores > b.cores : a.tid < b.tid;
  });
  if (cpu.threads.size() > telemetry::kTopThreadsMax) cpu.threads.resize(telemetry::kTopThreadsMax);
  return cpu;
}

telemetry::MemoryProfile memory_between(const MemoryCounters& before, const MemoryCounters& after,
                                        double seconds) {
  telemetry::MemoryProfile memory;
  memory.total_bytes = after.total_bytes;
  memory.available_bytes = after.available_bytes;
  memory.minor_faults_per_s = over(grown(before.minor_faults, after.minor_faults), seconds);
  memory.major_faults_per_s = over(grown(before.major_faults, after.major_faults), seconds);
  memory.refaults_per_s = over(grown(before.refaults, after.refaults), seconds);
  memory.swap_in_pages_per_s = over(grown(before.swap_in, after.swap_in), seconds);
  memory.swap_out_pages_per_s = over(grown(before.swap_out, after.swap_out), seconds);
  return memory;
}

telemetry::DiskProfile disk_between(const std::string& name, const DiskCounters& before,
                                    const DiskCounters& after, double seconds) {
  constexpr double kSectorBytes = 512;
  const double reads = grown(before.reads, after.reads);
  const double writes = grown(before.writes, after.writes);
  telemetry::DiskProfile disk;
  disk.name = name;
  disk.reads_per_s = over(reads, seconds);
  disk.writes_per_s = over(writes, seconds);
  disk.read_bytes_per_s =
      over(grown(before.read_sectors, after.read_sectors) * kSectorBytes, seconds);
  disk.write_bytes_per_s =
      over(grown(before.write_sectors, after.write_sectors) * kSectorBytes, seconds);
  disk.read_latency_us = over(grown(before.read_ms, after.read_ms) * 1000, reads);
  disk.write_latency_us = over(grown(before.write_ms, after.write_ms) * 1000, writes);
  disk.busy_ratio = std::min(1.0, over(grown(before.busy_ms, after.busy_ms) / 1000, seconds));
  return disk;
}

telemetry::NetworkProfile network_between(const std::string& name, const NetworkCounters& before,
                                          const NetworkCounters& after, double seconds) {
  telemetry::NetworkProfile network;
  network.name = name;
  network.rx_bytes_per_s = over(grown(before.rx_bytes, after.rx_bytes), seconds);
  network.tx_bytes_per_s = over(grown(before.tx_bytes, after.tx_bytes), seconds);
  network.rx_packets_per_s = over(grown(before.rx_packets, after.rx_packets), seconds);
  network.tx_packets_per_s = over(grown(before.tx_packets, after.tx_packets), seconds);
  network.drops_per_s = over(grown(before.drops, after.drops), seconds);
  return network;
}

}  // namespace

telemetry::Profile profile_between(const Counters& before, const Counters& after) {
  telemetry::Profile profile;
  const double seconds = to_seconds(after.at - before.at);
  if (before.cpu && after.cpu) profile.cpu = cpu_between(*before.cpu, *after.cpu, seconds);
  if (before.memory && after.memory)
    profile.memory = memory_between(*before.memory, *after.memory, seconds);
  if (before.disks && after.disks) {
    for (const auto& [name, disk] : *after.disks) {
      const auto past = before.disks->find(name);
      if (past != before.disks->end() && profile.disks.size() < telemetry::kDisksMax)
        profile.disks.push_back(disk_between(name, past->second, disk, seconds));
    }
  }
  if (before.networks && after.networks) {
    for (const auto& [name, network] : *after.networks) {
      const auto past = before.networks->find(name);
      if (past != before.networks->end() && profile.networks.size() < telemetry::kNetworksMax)
        profile.networks.push_back(network_between(name, past->second, network, seconds));
    }
  }
  profile.pressure = after.pressure;
  profile.missing = after.missing;
  return profile;
}

}  // namespace forerun::agent
