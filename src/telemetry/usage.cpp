#include "telemetry/usage.h"

#include <algorithm>
#include <charconv>

namespace forerun::telemetry {
namespace {

// Reads unsigned numbers that blanks separate.
class Numbers {
 public:
  explicit Numbers(std::string_view text) : text_(text) {}
  std::optional<uint64_t> next() {
    text_.remove_prefix(std::min(text_.find_first_not_of(" \t\n"), text_.size()));
    uint64_t value = 0;
    const auto [end, error] = std::from_chars(text_.data(), text_.data() + text_.size(), value);
    if (error != std::errc{}) return std::nullopt;
    text_.remove_prefix(static_cast<size_t>(end - text_.data()));
    return value;
  }

 private:
  std::string_view text_;
};

// Calls `use` with each line.
template <typename Use>
void each_line(std::string_view text, Use use) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    use(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

constexpr uint64_t kVcpuMax = 4096;
constexpr double kWaitedMax = 0.9;  // of the time, as far as it is believed

double rate(double before, double after, double seconds) {
  return seconds > 0 ? std::max(0.0, after - before) / seconds : 0;
}

}  // namespace

std::optional<HostCounters> parse_proc_stat(std::string_view text, double ticks_per_second) {
  HostCounters counters;
  bool has_sum = false;
  each_line(text, [&](std::string_view line) {
    if (!line.starts_with("cpu")) return;
    if (!line.starts_with("cpu ")) {
      ++counters.cpus;
      return;
    }
    Numbers numbers(line.substr(4));
    // user nice system idle iowait irq softirq steal; guest time is in user's.
    for (int i = 0; i < 8; ++i) {
      const auto ticks = numbers.next();
      if (!ticks) return;
      if (i != 3 && i != 4) counters.busy_cpu_seconds += static_cast<double>(*ticks);
    }
    counters.busy_cpu_seconds /= ticks_per_second;
    has_sum = true;
  });
  if (!has_sum || counters.cpus == 0) return std::nullopt;
  return counters;
}

bool parse_meminfo(std::string_view text, HostCounters& counters) {
  bool has_total = false, has_available = false;
  const auto take = [](std::string_view line, std::string_view key, uint64_t& out, bool& has) {
    if (!line.starts_with(key)) return;
    if (const auto kib = Numbers(line.substr(key.size())).next()) out = *kib * 1024, has = true;
  };
  each_line(text, [&](std::string_view line) {
    take(line, "MemTotal:", counters.memory_total_bytes, has_total);
    take(line, "MemAvailable:", counters.memory_available_bytes, has_available);
  });
  return has_total && has_available;
}

std::optional<double> parse_pressure(std::string_view text) {
  const size_t at = text.find("total=");
  if (!text.starts_with("some ") || at == text.npos) return std::nullopt;
  const auto microseconds = Numbers(text.substr(at + 6)).next();
  if (!microseconds) return std::nullopt;
  return static_cast<double>(*microseconds) / 1e6;
}

bool add_schedstat(std::string_view text, ProcessCounters& counters) {
  Numbers numbers(text);
  const auto run = numbers.next(), wait = numbers.next();
  if (!run || !wait) return false;
  counters.run_seconds += static_cast<double>(*run) / 1e9;
  counters.wait_seconds += static_cast<double>(*wait) / 1e9;
  return true;
}

std::optional<uint32_t> vcpu_of_thread(std::string_view comm) {
  if (!comm.starts_with("CPU ")) return std::nullopt;
  const size_t slash = comm.find('/');
  const auto number = Numbers(comm.substr(4)).next();
  const std::string_view kind = comm.substr(std::min(comm.size(), slash));
  const bool is_vcpu = kind.starts_with("/KVM") || kind.starts_with("/TCG");
  if (!is_vcpu || !number || *number > kVcpuMax) return std::nullopt;
  return static_cast<uint32_t>(*number);
}

std::optional<uint64_t> parse_statm(std::string_view text, uint64_t page_bytes) {
  Numbers numbers(text);
  numbers.next();
  const auto resident = numbers.next();
  if (!resident) return std::nullopt;
  return *resident * page_bytes;
}

std::vector<MetricValue> usage_between(const HostCounters& before, const HostCounters& after,
                                       double seconds) {
  std::vector<MetricValue> values{
      {"cpu_cores", rate(before.busy_cpu_seconds, after.busy_cpu_seconds, seconds)},
      {"cpu_total_cores", static_cast<double>(after.cpus)},
      {"memory_bytes",
       static_cast<double>(after.memory_total_bytes -
                           std::min(after.memory_total_bytes, after.memory_available_bytes))},
      {"memory_total_bytes", static_cast<double>(after.memory_total_bytes)}};
  const auto stall = [&](std::string_view metric, const std::optional<double>& from,
                         const std::optional<double>& to) {
    if (from && to) values.push_back({metric, std::min(1.0, rate(*from, *to, seconds))});
  };
  stall("cpu_stall_ratio", before.cpu_stall_seconds, after.cpu_stall_seconds);
  stall("memory_stall_ratio", before.memory_stall_seconds, after.memory_stall_seconds);
  stall("io_stall_ratio", before.io_stall_seconds, after.io_stall_seconds);
  return values;
}

std::vector<MetricValue> usage_between(const ProcessCounters& before, const ProcessCounters& after,
                                       double seconds) {
  std::vector<MetricValue> values{
      {"cpu_cores", rate(before.run_seconds, after.run_seconds, seconds)},
      {"cpu_wait_cores", rate(before.wait_seconds, after.wait_seconds, seconds)},
      {"memory_bytes", static_cast<double>(after.resident_bytes)}};
  double sum = 0, most = 0;
  size_t count = 0;
  for (const auto& [vcpu, waited] : after.vcpu_wait_seconds) {
    const auto earlier = before.vcpu_wait_seconds.find(vcpu);
    if (earlier == before.vcpu_wait_seconds.end()) continue;
    const double share = std::min(1.0, rate(earlier->second, waited, seconds));
    sum += share;
    most = std::max(most, share);
    ++count;
  }
  if (count > 0) values.push_back({"vcpu_wait_ratio", sum / static_cast<double>(count), most});
  return values;
}

double demand_cores(double ran, double waited, double cpus) {
  const double share = std::min(kWaitedMax, waited / std::max(cpus, 1.0));
  return std::min(std::max(ran, cpus), ran / (1 - share));
}

}  // namespace forerun::telemetry
