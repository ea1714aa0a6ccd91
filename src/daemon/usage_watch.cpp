#include "daemon/usage_watch.h"

#include <unistd.h>

#include <cmath>

#include "core/log.h"
#include "os/file.h"

namespace forerun::daemon {
namespace {

constexpr size_t kFileBytesMax = 1 << 20;
constexpr size_t kThreadsMax = 4096;  // of one VM
constexpr size_t kPushedMax = 100'000;
constexpr std::array<std::string_view, 7> kMeasured{
    "cpu_cores",       "cpu_wait_cores",        "vcpu_wait_ratio",
    "memory_bytes",    "disk_read_bytes_per_s", "disk_write_bytes_per_s",
    "disk_stall_ratio"};

}  // namespace

UsageWatch::UsageWatch(std::string root, const Clock& clock, std::function<int64_t()> unix_seconds,
                       store::HistoryStore& history, ListVms list_vms)
    : root_(std::move(root)),
      clock_(clock),
      unix_seconds_(std::move(unix_seconds)),
      history_(history),
      list_vms_(std::move(list_vms)) {}

UsageWatch::~UsageWatch() {
  const std::lock_guard lock(mutex_);
  is_stopping_ = true;
  stop_changed_.notify_all();
}

void UsageWatch::start() {
  thread_ = std::jthread([this] { run(); });
}

void UsageWatch::run() {
  for (;;) {
    step();
    std::unique_lock lock(mutex_);
    stop_changed_.wait_for(lock, kRound, [&] { return is_stopping_; });
    if (is_stopping_) return;
  }
}

std::string UsageWatch::text_of(const std::string& path) const {
  const auto content = os::read_file(root_ + path, kFileBytesMax);
  return content ? std::string(as_text(*content)) : std::string();
}

std::optional<telemetry::HostCounters> UsageWatch::read_host() const {
  static const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  auto host = telemetry::parse_proc_stat(text_of("/proc/stat"), ticks);
  if (!host || !telemetry::parse_meminfo(text_of("/proc/meminfo"), *host)) return std::nullopt;
  host->cpu_stall_seconds = telemetry::parse_pressure(text_of("/proc/pressure/cpu"));
  host->memory_stall_seconds = telemetry::parse_pressure(text_of("/proc/pressure/memory"));
  host->io_stall_seconds = telemetry::parse_pressure(text_of("/proc/pressure/io"));
  return host;
}

telemetry::ProcessCounters UsageWatch::read_process(int pid) const {
  static const auto page_bytes = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  telemetry::ProcessCounters process;
  const std::string folder = fmt::format("/proc/{}", pid);
  const auto threads = os::list_folder(root_ + folder + "/task");
  for (size_t i = 0; threads && i < std::min(threads->size(), kThreadsMax); ++i) {
    const std::string thread = fmt::format("{}/task/{}", folder, (*threads)[i]);
    const double before = process.wait_seconds;
    if (!telemetry::add_schedstat(text_of(thread + "/schedstat"), process)) continue;
    if (const auto vcpu = telemetry::vcpu_of_thread(text_of(thread + "/comm")))
      process.vcpu_wait_seconds[*vcpu] = process.wait_seconds - before;
  }
  process.resident_bytes =
      telemetry::parse_statm(text_of(folder + "/statm"), page_bytes).value_or(0);
  return process;
}

void UsageWatch::add(const telemetry::SeriesName& name, double mean, double max,
                     std::vector<telemetry::HistoryPoint>& points) {
  const auto id = history_.series(name);
  if (!id) {
    if (!is_failing_) log::warn("history: {}", id.error().message);
    is_failing_ = true;
    return;
  }
  points.push_back({*id, static_cast<float>(mean), static_cast<float>(max)});
}

void UsageWatch::add_vm(const WatchedVm& vm, double seconds, Waits& waits,
                        std::vector<telemetry::HistoryPoint>& points) {
  const Seen now{vm.pid != 0 ? read_process(vm.pid) : telemetry::ProcessCounters{}, vm};
  const auto known = vms_.find(vm.name);
  // One that began since is measured from the next round on.
  if (known != vms_.end() && known->second.vm.pid == vm.pid) {
    const Seen& before = known->second;
    const auto vcpus = static_cast<double>(now.process.vcpu_wait_seconds.size());
    double ran = 0, waited = 0;
    const std::string entity = "vm/" + vm.name;
    if (vm.pid != 0)
      for (const auto& [metric, value, most] :
           telemetry::usage_between(before.process, now.process, seconds)) {
        add({entity, std::string(metric)}, value, most.value_or(value), points);
        if (metric == "cpu_cores") ran = value;
        if (metric == "cpu_wait_cores") waited = value;
        if (metric == "vcpu_wait_ratio") {
          waits.vcpus += vcpus;
          waits.vcpu_ratio_sum += value * vcpus;
          waits.vcpu_ratio_most = std::max(waits.vcpu_ratio_most, *most);
        }
      }
    waits.missed_cores += telemetry::demand_cores(ran, waited, vcpus) - ran;
    const auto rate = [&](auto from, auto to) {
      return to > from ? static_cast<double>(to - from) / seconds : 0.0;
    };
    const std::pair<std::string_view, double> disk[] = {
        {"disk_read_bytes_per_s", rate(before.vm.read_bytes, vm.read_bytes)},
        {"disk_write_bytes_per_s", rate(before.vm.written_bytes, vm.written_bytes)},
        {"disk_stall_ratio", std::min(1.0, rate(before.vm.stall_seconds, vm.stall_seconds))}};
    for (const auto& [metric, value] : disk)
      add({entity, std::string(metric)}, value, value, points);
  }
  vms_[vm.name] = now;
}

void UsageWatch::add_host(const telemetry::HostCounters& host, double seconds, const Waits& waits,
                          std::vector<telemetry::HistoryPoint>& points) {
  for (const auto& [metric, value, most] : telemetry::usage_between(*host_, host, seconds)) {
    add({"host", std::string(metric)}, value, value, points);
    if (metric != "cpu_cores") continue;
    const double demand = value + waits.missed_cores;
    add({"host", "cpu_demand_cores"}, demand, demand, points);
  }
  if (waits.vcpus > 0)
    add({"host", "vcpu_wait_ratio"}, waits.vcpu_ratio_sum / waits.vcpus, waits.vcpu_ratio_most,
        points);
}

void UsageWatch::step() {
  const std::lock_guard lock(step_mutex_);
  const Time now = clock_.now();
  const double seconds = to_seconds(now - seen_at_);
  const auto host = read_host();
  std::vector<telemetry::HistoryPoint> points;
  const auto running = list_vms_();
  std::set<std::string> names;
  Waits waits;
  for (const WatchedVm& vm : running) {
    names.insert(vm.name);
    add_vm(vm, seconds, waits, points);
  }
  if (host && host_ && seconds > 0) add_host(*host, seconds, waits, points);
  std::erase_if(vms_, [&](const auto& known) { return !names.contains(known.first); });
  host_ = host;
  seen_at_ = now;
  std::map<telemetry::SeriesName, Pushed> pushed;
  {
    const std::lock_guard pushed_lock(mutex_);
    pushed.swap(pushed_);
  }
  for (const auto& [name, values] : pushed)
    add(name, values.sum / values.count, values.max, points);
  if (points.empty()) return;
  // It began a round ago.
  const auto kept = history_.append(unix_seconds_() - 10, std::move(points));
  if (!kept && !is_failing_) log::warn("{}", kept.error().message);
  is_failing_ = !kept;
}

Status UsageWatch::push(const std::string& vm,
                        const std::vector<std::pair<std::string, double>>& values) {
  if (values.size() > kMetricsPerPushMax)
    return fail(ErrorCode::kTooLarge, fmt::format("over {} values at once", kMetricsPerPushMax));
  for (const auto& [metric, value] : values) {
    FR_CHECK(telemetry::check({"vm/" + vm, metric}));
    if (std::ranges::find(kMeasured, metric) != kMeasured.end())
      return fail(ErrorCode::kInvalid, fmt::format("{} is measured by the host", metric));
    if (!std::isfinite(value) || std::abs(value) > 1e30)
      return fail(ErrorCode::kInvalid, fmt::format("{} is no number", metric));
  }
  const std::lock_guard lock(mutex_);
  if (pushed_.size() + values.size() > kPushedMax)
    return fail(ErrorCode::kTooLarge, "too many metrics in one round");
  for (const auto& [metric, value] : values) {
    Pushed& pushed = pushed_[{"vm/" + vm, metric}];
    pushed.max = pushed.count == 0 ? value : std::max(pushed.max, value);
    pushed.sum += value;
    ++pushed.count;
  }
  return {};
}

}  // namespace forerun::daemon
