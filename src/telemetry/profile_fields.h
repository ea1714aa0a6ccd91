// The members of a profile with their ranges, said once: the writer, the parser and the schema
// visit them. A visitor has whole(), real(), text(), hex(), version(), object() and list().
#pragma once

#include "telemetry/profile.h"

namespace forerun::telemetry {

inline constexpr double kRateMax = 1e12;  // bytes, pages, requests a second
inline constexpr uint64_t kBytesMax = 1ull << 50;
inline constexpr uint64_t kPidMax = 1ull << 22;
inline constexpr uint64_t kCountMax = 1ull << 53;  // what a double holds exactly

template <typename V>
void describe(V& v, ProcessCpu& p) {
  v.whole("pid", p.pid, 0, kPidMax);
  v.text("name", p.name, 15);
  v.real("cores", p.cores, 0, 4096);
  v.whole("rss_bytes", p.rss_bytes, 0, kBytesMax);
}

template <typename V>
void describe(V& v, ThreadCpu& p) {
  v.whole("pid", p.pid, 0, kPidMax);
  v.whole("tid", p.tid, 0, kPidMax);
  v.text("name", p.name, 15);
  v.real("cores", p.cores, 0, 4096);
}

template <typename V>
void describe(V& v, CpuProfile& p) {
  v.whole("cores", p.cores, 0, 4096);
  v.real("busy_ratio", p.busy_ratio, 0, 1);
  v.real("steal_ratio", p.steal_ratio, 0, 1);
  v.list("top", p.top, kTopProcessesMax);
  v.optional_list("threads", p.threads, kTopThreadsMax);
}

template <typename V>
void describe(V& v, MemoryProfile& p) {
  v.whole("total_bytes", p.total_bytes, 0, kBytesMax);
  v.whole("available_bytes", p.available_bytes, 0, kBytesMax);
  v.real("minor_faults_per_s", p.minor_faults_per_s, 0, kRateMax);
  v.real("major_faults_per_s", p.major_faults_per_s, 0, kRateMax);
  v.real("refaults_per_s", p.refaults_per_s, 0, kRateMax);
  v.real("swap_in_pages_per_s", p.swap_in_pages_per_s, 0, kRateMax);
  v.real("swap_out_pages_per_s", p.swap_out_pages_per_s, 0, kRateMax);
}

template <typename V>
void describe(V& v, WorkingSetProfile& p) {
  v.whole("pid", p.pid, 0, kPidMax);
  v.text("name", p.name, 15);
  v.real("window_s", p.window_s, 0, 86400);
  v.whole("referenced_bytes", p.referenced_bytes, 0, kBytesMax);
  v.whole("dirty_bytes", p.dirty_bytes, 0, kBytesMax);
  v.real("change_ratio", p.change_ratio, -1, 1);
}

template <typename V>
void describe(V& v, AccessFeatures& p) {
  v.real("delta_entropy_bits", p.delta_entropy_bits, 0, 64);
  v.real("plus_one_ratio", p.plus_one_ratio, 0, 1);
  v.integer("delta_mode", p.delta_mode, kCountMax);
  v.real("delta_mode_ratio", p.delta_mode_ratio, 0, 1);
  v.real("run_pages", p.run_pages, 0, 1e15);
  v.whole("gap_mode_pages", p.gap_mode_pages, 0, kCountMax);
  v.real("gap_mode_ratio", p.gap_mode_ratio, 0, 1);
  v.real("jaccard_ratio", p.jaccard_ratio, 0, 1);
}

template <typename V>
void describe(V& v, PatternShares& p) {
  v.real("scan", p.scan, 0, 1);
  v.real("loop", p.loop, 0, 1);
  v.real("stride", p.stride, 0, 1);
  v.real("chase", p.chase, 0, 1);
  v.real("random", p.random, 0, 1);
}

template <typename V>
void describe(V& v, PatternProfile& p) {
  v.whole("pid", p.pid, 0, kPidMax);
  v.text("source", p.source, 8);
  v.whole("samples", p.samples, 0, kCountMax);
  v.object("features", p.features);
  v.object("shares", p.shares);
}

template <typename V>
void describe(V& v, DiskProfile& p) {
  v.text("name", p.name, 31);
  v.real("reads_per_s", p.reads_per_s, 0, kRateMax);
  v.real("writes_per_s", p.writes_per_s, 0, kRateMax);
  v.real("read_bytes_per_s", p.read_bytes_per_s, 0, kRateMax);
  v.real("write_bytes_per_s", p.write_bytes_per_s, 0, kRateMax);
  v.real("read_latency_us", p.read_latency_us, 0, 1e12);
  v.real("write_latency_us", p.write_latency_us, 0, 1e12);
  v.real("busy_ratio", p.busy_ratio, 0, 1);
}

template <typename V>
void describe(V& v, NetworkProfile& p) {
  v.text("name", p.name, 15);
  v.real("rx_bytes_per_s", p.rx_bytes_per_s, 0, kRateMax);
  v.real("tx_bytes_per_s", p.tx_bytes_per_s, 0, kRateMax);
  v.real("rx_packets_per_s", p.rx_packets_per_s, 0, kRateMax);
  v.real("tx_packets_per_s", p.tx_packets_per_s, 0, kRateMax);
  v.real("drops_per_s", p.drops_per_s, 0, kRateMax);
}

template <typename V>
void describe(V& v, PressureProfile& p) {
  v.real("cpu_some", p.cpu_some, 0, 1);
  v.real("memory_some", p.memory_some, 0, 1);
  v.real("memory_full", p.memory_full, 0, 1);
  v.real("io_some", p.io_some, 0, 1);
  v.real("io_full", p.io_full, 0, 1);
}

template <typename V>
void describe(V& v, AgentProfile& p) {
  v.real("cpu_ratio", p.cpu_ratio, 0, 4096);
  v.whole("rss_bytes", p.rss_bytes, 0, kBytesMax);
  v.whole("unsent", p.unsent, 0, kCountMax);
}

template <typename V>
void describe(V& v, MissingMetric& p) {
  v.text("metric", p.metric, 24);
  v.text("reason", p.reason, 120);
}

template <typename V>
void describe(V& v, Profile& p) {
  v.whole("version", p.version, kProfileVersion, kProfileVersion);
  v.text("instance", p.instance, 32);
  v.whole("sequence", p.sequence, 0, kCountMax);
  v.whole("monotonic_ns", p.monotonic_ns, 0, 1ull << 62);
  v.whole("period_ms", p.period_ms, 1, 3600'000);
  v.object("agent", p.agent);
  v.optional("cpu", p.cpu);
  v.optional("memory", p.memory);
  v.optional("working_set", p.working_set);
  v.optional("pattern", p.pattern);
  v.optional_list("disks", p.disks, kDisksMax);
  v.optional_list("networks", p.networks, kNetworksMax);
  v.optional("pressure", p.pressure);
  v.optional_list("missing", p.missing, kMissingMax);
}

}  // namespace forerun::telemetry
