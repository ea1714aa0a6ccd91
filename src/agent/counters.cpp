#include "agent/counters.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "os/file.h"

namespace forerun::agent {
namespace {

using telemetry::Metric;

// Words of a line, without copies.
class Words {
 public:
  explicit Words(std::string_view line) : left_(line) {}
  std::string_view next() {
    const size_t begin = left_.find_first_not_of(" \t");
    if (begin == std::string_view::npos) return {};
    left_.remove_prefix(begin);
    const std::string_view word = left_.substr(0, left_.find_first_of(" \t"));
    left_.remove_prefix(word.size());
    return word;
  }
  uint64_t number() {
    const std::string_view word = next();
    uint64_t value = 0;
    std::from_chars(word.data(), word.data() + word.size(), value);
    return value;
  }
  void skip(size_t words) {
    while (words-- > 0) next();
  }

 private:
  std::string_view left_;
};

template <typename Take>
void each_line(std::string_view text, const Take& take) {
  while (!text.empty()) {
    const size_t end = text.find('\n');
    take(text.substr(0, end));
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

std::optional<CpuCounters> parse_cpu(std::string_view text) {
  CpuCounters cpu;
  each_line(text, [&](std::string_view line) {
    if (!line.starts_with("cpu")) return;
    Words words(line);
    if (words.next() != "cpu") {
      ++cpu.cores;
      return;
    }
    // user nice system idle iowait irq softirq steal; guest time is in user already
    for (int i = 0; i < 8; ++i) {
      const uint64_t ticks = words.number();
      cpu.total_ticks += ticks;
      if (i == 3 || i == 4) cpu.idle_ticks += ticks;
      if (i == 7) cpu.steal_ticks += ticks;
    }
  });
  return cpu.total_ticks == 0 ? std::nullopt : std::optional(cpu);
}

// Gives `take` the number and the counters of each process or thread that `folder` has, and stops
// after `count_max` of them.
template <typename Take>
void each_task(const std::string& folder, size_t count_max, const Take& take) {
  DIR* opened = ::opendir(folder.c_str());
  if (opened == nullptr) return;
  std::string path;
  size_t count = 0;
  while (const dirent* entry = ::readdir(opened)) {
    const std::string_view name = entry->d_name;
    int id = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), id);
    if (parsed.ptr != name.data() + name.size() || id <= 0) continue;
    path = folder;
    path.append("/").append(name).append("/stat");
    const auto text = read_text(path, 1024);
    if (!text) continue;  // it ended
    if (auto task = parse_process(*text)) take(id, std::move(*task));
    if (++count == count_max) break;
  }
  ::closedir(opened);
}

void add_processes(const std::string& root, CpuCounters& cpu) {
  each_task(root + "/proc", kProcessesMax,
            [&](int pid, ProcessCounters process) { cpu.processes[pid] = std::move(process); });
}

void add_vmstat(std::string_view text, MemoryCounters& memory) {
  each_line(text, [&](std::string_view line) {
    Words words(line);
    const std::string_view name = words.next();
    if (name == "pgfault") memory.minor_faults += words.number();
    if (name == "pgmajfault") memory.major_faults += words.number();
    if (name == "pswpin") memory.swap_in += words.number();
    if (name == "pswpout") memory.swap_out += words.number();
    // One counter before Linux 5.9, then one for anonymous memory and one for files.
    if (name == "workingset_refault" || name == "workingset_refault_anon" ||
        name == "workingset_refault_file") {
      memory.refaults += words.number();
      memory.has_refaults = true;
    }
  });
  // pgfault counts both kinds.
  memory.minor_faults -= std::min(memory.minor_faults, memory.major_faults);
}

std::optional<MemoryCounters> parse_memory(std::string_view meminfo, std::string_view vmstat) {
  MemoryCounters memory;
  each_line(meminfo, [&](std::string_view line) {
    Words words(line);
    const std::string_view name = words.next();
    if (name == "MemTotal:") memory.total_bytes = words.number() * 1024;
    if (name == "MemAvailable:") memory.available_bytes = words.number() * 1024;
  });
  if (memory.total_bytes == 0) return std::nullopt;
  add_vmstat(vmstat, memory);
  return memory;
}

std::map<std::string, DiskCounters> parse_disks(const std::string& root, std::string_view text) {
  std::map<std::string, DiskCounters> disks;
  each_line(text, [&](std::string_view line) {
    Words words(line);
    words.skip(2);
    const std::string name(words.next());
    if (name.empty() || name.starts_with("loop") || name.starts_with("ram")) return;
    // A partition's requests are its disk's too.
    if (!os::path_exists(root + "/sys/block/" + name)) return;
    DiskCounters disk;
    disk.reads = words.number();
    words.skip(1);
    disk.read_sectors = words.number();
    disk.read_ms = words.number();
    disk.writes = words.number();
    words.skip(1);
    disk.write_sectors = words.number();
    disk.write_ms = words.number();
    words.skip(1);
    disk.busy_ms = words.number();
    if (disk.reads + disk.writes != 0) disks[name] = disk;
  });
  return disks;
}

std::map<std::string, NetworkCounters> parse_networks(std::string_view text) {
  std::map<std::string, NetworkCounters> networks;
  each_line(text, [&](std::string_view line) {
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return;
    Words name_words(line.substr(0, colon));
    const std::string name(name_words.next());
    if (name.empty() || name == "lo") return;
    Words words(line.substr(colon + 1));
    NetworkCounters network;
    network.rx_bytes = words.number();
    network.rx_packets = words.number();
    words.skip(1);
    network.drops = words.number();
    words.skip(4);
    network.tx_bytes = words.number();
    network.tx_packets = words.number();
    words.skip(1);
    network.drops += words.number();
    networks[name] = network;
  });
  return networks;
}

// Returns avg10 of the line that begins with `kind`, as a ratio.
double pressure_of(std::string_view text, std::string_view kind) {
  double ratio = 0;
  each_line(text, [&](std::string_view line) {
    constexpr std::string_view kAverage = "avg10=";
    const size_t at = line.find(kAverage);
    if (!line.starts_with(kind) || at == std::string_view::npos) return;
    const std::string_view value = line.substr(at + kAverage.size());
    std::from_chars(value.data(), value.data() + value.size(), ratio);
  });
  return std::clamp(ratio / 100, 0.0, 1.0);
}

}  // namespace

std::optional<std::string> read_text(const std::string& path, size_t bytes_max) {
  const os::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.is_open()) return std::nullopt;
  std::string text;
  constexpr size_t kPart = 16 << 10;
  while (text.size() < bytes_max) {
    const size_t filled = text.size();
    const size_t want =
        std::min(filled == 0 ? std::min<size_t>(kPart, bytes_max) : kPart, bytes_max - filled);
    text.resize(filled + want);
    const ssize_t got = ::read(fd.get(), text.data() + filled, want);
    text.resize(filled + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) break;
  }
  return text;
}

std::optional<ProcessCounters> parse_process(std::string_view text) {
  // The name is in parentheses and may hold anything, parentheses too.
  const size_t open = text.find('(');
  const size_t close = text.rfind(')');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open)
    return std::nullopt;
  ProcessCounters process;
  process.name = text.substr(open + 1, close - open - 1);
  Words words(text.substr(close + 1));
  words.skip(7);  // state to flags
  process.minor_faults = words.number();
  words.skip(3);
  process.cpu_ticks = words.number();
  process.cpu_ticks += words.number();
  words.skip(4);
  process.threads = words.number();
  words.skip(1);
  process.start_ticks = words.number();
  words.skip(1);
  process.rss_bytes = words.number() * kPageBytes;
  return process;
}

void add_threads(const std::string& root, const CpuCounters& before, CpuCounters& after) {
  std::vector<std::pair<uint64_t, int>> busiest;  // ticks, pid
  for (const auto& [pid, process] : after.processes) {
    const auto past = before.processes.find(pid);
    if (process.threads < 2 || past == before.processes.end()) continue;
    if (process.cpu_ticks > past->second.cpu_ticks)
      busiest.emplace_back(process.cpu_ticks - past->second.cpu_ticks, pid);
  }
  std::ranges::sort(busiest, std::greater{});
  if (busiest.size() > kThreadedMax) busiest.resize(kThreadedMax);
  for (const auto& [ticks, pid] : busiest) {
    each_task(fmt::format("{}/proc/{}/task", root, pid), kThreadsOfOneMax,
              [&, of = pid](int tid, ProcessCounters thread) {
                after.threads[{of, tid}] = std::move(thread);
              });
  }
}

Counters read_counters(const std::string& root, telemetry::Metrics metrics, Time now) {
  Counters counters;
  counters.at = now;
  const auto text_of = [&](const std::string& path, Metric metric) {
    auto text = read_text(root + path);
    if (!text)
      counters.missing.push_back({std::string(metric_name(metric)),
                                  fmt::format("cannot read {}: {}", path, std::strerror(errno))});
    return text;
  };
  if (metrics.has(Metric::kCpu) || metrics.has(Metric::kWorkingSet) ||
      metrics.has(Metric::kPattern)) {
    if (const auto text = text_of("/proc/stat", Metric::kCpu)) counters.cpu = parse_cpu(*text);
    if (counters.cpu) add_processes(root, *counters.cpu);
  }
  if (metrics.has(Metric::kMemory)) {
    const auto meminfo = text_of("/proc/meminfo", Metric::kMemory);
    const auto vmstat = text_of("/proc/vmstat", Metric::kMemory);
    if (meminfo && vmstat) counters.memory = parse_memory(*meminfo, *vmstat);
    if (counters.memory && !counters.memory->has_refaults)
      counters.missing.push_back({"memory.refaults", "/proc/vmstat counts none here"});
  }
  if (metrics.has(Metric::kDisks)) {
    if (const auto text = text_of("/proc/diskstats", Metric::kDisks))
      counters.disks = parse_disks(root, *text);
  }
  if (metrics.has(Metric::kNetworks)) {
    if (const auto text = text_of("/proc/net/dev", Metric::kNetworks))
      counters.networks = parse_networks(*text);
  }
  if (metrics.has(Metric::kPressure)) {
    std::array<std::optional<std::string>, 3> texts;
    for (size_t i = 0;
         const char* path : {"/proc/pressure/cpu", "/proc/pressure/memory", "/proc/pressure/io"}) {
      texts[i] = text_of(path, Metric::kPressure);
      if (!texts[i++]) break;  // one reason will do
    }
    const auto& [cpu, memory, io] = texts;
    if (cpu && memory && io)
      counters.pressure = telemetry::PressureProfile{
          pressure_of(*cpu, "some"), pressure_of(*memory, "some"), pressure_of(*memory, "full"),
          pressure_of(*io, "some"), pressure_of(*io, "full")};
  }
  return counters;
}

}  // namespace forerun::agent
