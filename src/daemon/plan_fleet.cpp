#include "daemon/plan_fleet.h"

#include <algorithm>
#include <map>
#include <set>

#include "telemetry/usage.h"

namespace forerun::daemon {
namespace {

constexpr size_t kUsedTicks = 12;  // of what others than VMs use, the last ones are averaged

telemetry::Resolution resolution_of(int64_t tick_s) {
  for (size_t i = 0; i < telemetry::kResolutionCount; ++i)
    if (const auto one = static_cast<telemetry::Resolution>(i);
        telemetry::rule(one).seconds == tick_s)
      return one;
  return telemetry::Resolution::k5min;
}

// Series by tick, the oldest first; nothing was seen: below 0.
class Ticks {
 public:
  Ticks(int64_t from, int64_t seconds, size_t count)
      : from_(from), seconds_(seconds), count_(count) {}

  Status load(store::HistoryStore& history, const std::set<std::string>& entities) {
    std::map<uint32_t, telemetry::SeriesName> wanted;
    for (const telemetry::SeriesName& name : history.names()) {
      if (!entities.contains(name.entity)) continue;
      FR_TRY(const uint32_t id, history.series(name));
      wanted[id] = name;
    }
    return history.each_row(
        resolution_of(seconds_), from_, from_ + seconds_ * static_cast<int64_t>(count_),
        [&](int64_t at, const std::vector<telemetry::HistoryPoint>& row) -> Status {
          const auto tick = static_cast<size_t>((at - from_) / seconds_);
          for (const telemetry::HistoryPoint& point : row)
            if (const auto found = wanted.find(point.series);
                found != wanted.end() && tick < count_)
              of(found->second)[tick] = static_cast<double>(point.mean);
          return {};
        });
  }
  // From the first tick that has a value on; later gaps are filled with the value before them.
  std::vector<double> series(const std::string& entity, const std::string& metric) const {
    const auto found = values_.find({entity, metric});
    std::vector<double> series;
    if (found == values_.end()) return series;
    for (const double value : found->second)
      if (value >= 0 || !series.empty()) series.push_back(value >= 0 ? value : series.back());
    return series;
  }
  double mean(const std::string& entity, const std::string& metric) const {
    const std::vector<double> all = series(entity, metric);
    const size_t count = std::min(all.size(), kUsedTicks);
    double sum = 0;
    for (size_t i = 0; i < count; ++i) sum += all[all.size() - 1 - i];
    return count == 0 ? 0 : sum / static_cast<double>(count);
  }

 private:
  std::vector<double>& of(const telemetry::SeriesName& name) {
    return values_.try_emplace(name, count_, -1).first->second;
  }
  const int64_t from_, seconds_;
  const size_t count_;
  std::map<telemetry::SeriesName, std::vector<double>> values_;
};

bool runs_here(const api::VmInfo& vm) {
  return vm.state == api::VmState::kRunning || vm.state == api::VmState::kMigrating;
}

void add_self(const Ticks& ticks, double vm_cores, double vm_bytes, place::SnapshotHost& host) {
  host.cores = std::max(1.0, ticks.mean("host", "cpu_total_cores"));
  host.used_cores = std::max(0.0, ticks.mean("host", "cpu_cores") - vm_cores);
  host.memory_bytes = static_cast<uint64_t>(ticks.mean("host", "memory_total_bytes"));
  host.used_memory_bytes =
      static_cast<uint64_t>(std::max(0.0, ticks.mean("host", "memory_bytes") - vm_bytes));
}

}  // namespace

Result<place::FleetSnapshot> own_fleet(const place::FleetSnapshot& rules,
                                       store::HistoryStore& history, const std::string& name,
                                       const std::vector<api::VmInfo>& vms,
                                       const MoveCosts::Known& costs, int64_t now) {
  place::FleetSnapshot fleet;
  fleet.horizon_s = rules.horizon_s;
  std::set<std::string> entities{"host"};
  for (const api::VmInfo& vm : vms)
    if (runs_here(vm)) entities.insert("vm/" + vm.name);
  const int64_t tick_s = telemetry::rule(resolution_of(static_cast<int64_t>(rules.tick_s))).seconds;
  fleet.tick_s = static_cast<double>(tick_s);
  const auto count = static_cast<int64_t>(kDemandTicks);
  // The tick that is under way is not known yet.
  Ticks ticks((now / tick_s - count) * tick_s, tick_s, kDemandTicks);
  FR_CHECK(ticks.load(history, entities));
  double vm_cores = 0, vm_bytes = 0;
  for (const api::VmInfo& vm : vms) {
    if (!runs_here(vm)) continue;
    const std::string entity = "vm/" + vm.name;
    place::SnapshotVm added;
    added.name = vm.name;
    added.host = name;
    added.cpus = vm.cpus;
    added.memory_bytes = vm.memory_bytes;
    const std::vector<double> ran = ticks.series(entity, "cpu_cores");
    const std::vector<double> waited = ticks.series(entity, "cpu_wait_cores");
    for (size_t i = 0; i < ran.size(); ++i)
      added.demand.push_back(static_cast<float>(
          telemetry::demand_cores(ran[i], i < waited.size() ? waited[i] : 0, vm.cpus)));
    const double resident = ticks.mean(entity, "memory_bytes");
    if (vm.memory_bytes > 0) added.memory_ratio = resident / static_cast<double>(vm.memory_bytes);
    added.io_bytes_per_s =
        ticks.mean(entity, "disk_read_bytes_per_s") + ticks.mean(entity, "disk_write_bytes_per_s");
    if (!waited.empty()) added.waited_cores = waited.back();
    added.move = move_cost(costs, vm.name, vm.memory_bytes, resident, rules.link_bytes_per_s);
    // What is no VM of ours, cannot move, or does so already.
    if (vm.state == api::VmState::kMigrating) added.going_to = vm.peer;
    added.is_pinned = vm.disk_only || vm.state != api::VmState::kRunning || !vm.pmem_images.empty();
    vm_cores += ticks.mean(entity, "cpu_cores");
    vm_bytes += resident;
    fleet.vms.push_back(std::move(added));
  }
  place::SnapshotHost& self = fleet.hosts.emplace_back();
  self.name = name;
  add_self(ticks, vm_cores, vm_bytes, self);
  return fleet;
}

std::vector<std::string> add_host(place::FleetSnapshot& fleet, place::FleetSnapshot other,
                                  const std::string& name) {
  std::vector<std::string> twice;
  if (other.hosts.empty()) return twice;
  std::set<std::string> known;
  for (const place::SnapshotVm& vm : fleet.vms) known.insert(vm.name);
  other.hosts.front().name = name;
  fleet.hosts.push_back(std::move(other.hosts.front()));
  for (place::SnapshotVm& vm : other.vms) {
    if (known.contains(vm.name)) {
      twice.push_back(vm.name);
      continue;
    }
    vm.host = name;
    vm.moved_before.clear();
    fleet.vms.push_back(std::move(vm));
  }
  return twice;
}

}  // namespace forerun::daemon
