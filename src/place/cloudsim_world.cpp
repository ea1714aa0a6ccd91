#include "place/cloudsim_world.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace forerun::place {
namespace {

constexpr double kDay_s = 86400;
constexpr double kTick_s = 300;
constexpr double kFirstTick_s = 0.1 + kTick_s;
constexpr double kHostRam_mb = 4096;
constexpr double kHostBandwidth = 1'000'000;  // kbit/s
constexpr double kVmBandwidth = 100'000;
constexpr double kMbPerSecond = kHostBandwidth / (2 * 8000);  // half a link for migrations
constexpr std::array<double, 4> kVmMips = {2500, 2000, 1000, 500};
constexpr std::array<double, 4> kVmRam_mb = {870, 1740, 1740, 613};
constexpr double kLeaving = 0.9;   // of its demand a VM gets on the host that it leaves
constexpr double kArriving = 0.1;  // of its demand it takes where it goes

SimHost make_host(int id) {
  SimHost host;
  const bool is_g4 = id % 2 == 0;
  host.core_mips = is_g4 ? 1860 : 2660;
  host.total_mips = 2 * host.core_mips;
  host.power = is_g4 ? &hp_ml110_g4() : &hp_ml110_g5();
  return host;
}

constexpr auto kLater = [](const auto& a, const auto& b) {
  return a.time != b.time ? a.time > b.time : a.order > b.order;
};

// An overload of less than a percent is rounding.
double as_utilisation(double mips, double total) {
  const double utilisation = mips / total;
  return utilisation > 1 && utilisation < 1.01 ? 1 : utilisation;
}

}  // namespace

VmShape shape_of(const trace::VmTrace& trace, size_t vm) {
  const trace::VmSeries& series = trace.vms[vm];
  if (series.capacity_mhz > 0 || series.memory_mb > 0)
    return {series.capacity_mhz, static_cast<double>(std::max<uint32_t>(series.memory_mb, 1))};
  const size_t per_type = (trace.vms.size() + kVmMips.size() - 1) / kVmMips.size();
  return {kVmMips[vm / per_type], kVmRam_mb[vm / per_type]};
}

double allocate(double core_mips, double total_mips, std::span<const SimDemand> demands,
                std::vector<double>& allocated) {
  allocated.resize(demands.size());
  double left = total_mips;
  double sum = 0;
  bool fits = true;
  for (size_t i = 0; i < demands.size(); ++i) {
    const double capped = std::min(demands[i].mips, core_mips);
    const double reserved = demands[i].role == SimRole::kArriving ? capped * kArriving : capped;
    sum += reserved;
    allocated[i] = demands[i].role == SimRole::kHere      ? capped
                   : demands[i].role == SimRole::kLeaving ? capped * kLeaving
                                                          : reserved;
    if (left >= reserved) {
      left -= reserved;
    } else {
      fits = false;
      left = 0;
    }
  }
  if (fits) return left;
  const double scale = total_mips / sum;
  for (size_t i = 0; i < demands.size(); ++i) {
    const double capped = std::min(demands[i].mips, core_mips);
    double share =
        demands[i].role == SimRole::kArriving ? capped * kArriving * scale : capped * scale;
    if (demands[i].role == SimRole::kLeaving) share *= kLeaving;
    allocated[i] = std::floor(share);
  }
  return 0;
}

CloudsimWorld::CloudsimWorld(const trace::VmTrace& trace, Options options)
    : options_(std::move(options)), meter_(static_cast<size_t>(options_.hosts), trace.vms.size()) {
  for (int id = 0; id < options_.hosts; ++id) hosts_.push_back(make_host(id));
  reserved_.resize(hosts_.size());
  const size_t per_type = (trace.vms.size() + kVmMips.size() - 1) / kVmMips.size();
  for (size_t id = 0; id < trace.vms.size(); ++id) {
    SimVm vm;
    vm.mips = kVmMips[id / per_type];
    vm.ram_mb = kVmRam_mb[id / per_type];
    vm.cpu_permille = &trace.vms[id].cpu_permille;
    vms_.push_back(std::move(vm));
  }
}

bool CloudsimWorld::can_start(int host, const SimVm& vm) const {
  const Reserved& reserved = reserved_[static_cast<size_t>(host)];
  const SimHost& at = hosts_[static_cast<size_t>(host)];
  return at.core_mips >= vm.mips && at.total_mips - reserved.mips >= vm.mips &&
         kHostRam_mb - reserved.ram_mb >= vm.ram_mb &&
         kHostBandwidth - reserved.bandwidth >= kVmBandwidth;
}

Status CloudsimWorld::start(SimPolicy& policy) {
  for (size_t id = 0; id < vms_.size(); ++id) {
    const int host = policy.first_host(*this, static_cast<int>(id));
    if (host < 0 || !can_start(host, vms_[id]))
      return fail(
          ErrorCode::kInvalid,
          fmt::format("cannot simulate: no host is left for VM {} of {}", id + 1, vms_.size()));
    auto& reserved = reserved_[static_cast<size_t>(host)];
    reserved.mips += vms_[id].mips;
    reserved.ram_mb += vms_[id].ram_mb;
    reserved.bandwidth += kVmBandwidth;
    hosts_[static_cast<size_t>(host)].vms.push_back(static_cast<int>(id));
    vms_[id].host = host;
  }
  return {};
}

// Linear between samples; the last one lasts.
double CloudsimWorld::utilisation_at(const SimVm& vm, double time) const {
  const auto& samples = *vm.cpu_permille;
  const auto sample = [&](size_t i) { return samples[std::min(i, samples.size() - 1)] / 1000.0; };
  const double at = time / kTick_s;
  const auto low = static_cast<size_t>(std::floor(at));
  const auto high = static_cast<size_t>(std::ceil(at));
  if (low == high) return sample(low);
  const double delta = (sample(high) - sample(low)) / (static_cast<double>(high - low) * kTick_s);
  return sample(low) + delta * (time - static_cast<double>(low) * kTick_s);
}

void CloudsimWorld::update_host(size_t id) {
  SimHost& host = hosts_[id];
  std::vector<SimDemand> demands;
  demands.reserve(host.vms.size());
  for (const int v : host.vms) {
    const SimVm& vm = vms_[static_cast<size_t>(v)];
    const bool is_here = vm.host == static_cast<int>(id);
    demands.push_back({vm.demand, !is_here          ? SimRole::kArriving
                                  : vm.is_migrating ? SimRole::kLeaving
                                                    : SimRole::kHere});
  }
  allocate(host.core_mips, host.total_mips, demands, allocated_);
  double used = 0, requested = 0, requested_corrected = 0;
  for (size_t i = 0; i < host.vms.size(); ++i) {
    const auto v = static_cast<size_t>(host.vms[i]);
    if (demands[i].role != SimRole::kArriving)
      meter_.vm(v, {now_, allocated_[i], vms_[v].demand, vms_[v].is_migrating});
    used += demands[i].role == SimRole::kLeaving ? allocated_[i] / kLeaving : allocated_[i];
    requested += vms_[v].demand;
    requested_corrected +=
        demands[i].role == SimRole::kArriving ? vms_[v].demand * kArriving : vms_[v].demand;
  }
  host.utilisation_before = host.utilisation;
  host.utilisation = as_utilisation(used, host.total_mips);
  meter_.host(id, {now_, used, requested, requested_corrected, used > 0});
}

// Brings everything to `time`; charges the energy since the last event.
void CloudsimWorld::advance(double time, bool is_tick) {
  const double seconds = time - now_;
  now_ = time;
  for (SimVm& vm : vms_) {
    if (vm.is_gone) continue;
    const double utilisation = utilisation_at(vm, time);
    vm.demand = utilisation * vm.mips;
    if (is_tick) vm.history.push_back(utilisation);
  }
  for (size_t id = 0; id < hosts_.size(); ++id) update_host(id);
  double frame = 0;
  for (const SimHost& host : hosts_) {
    if (host.utilisation_before == 0 || seconds <= 0) continue;
    const double from = host.power->at(host.utilisation_before);
    const double to = host.power->at(host.utilisation);
    frame += (from + (to - from) / 2) * seconds;
  }
  energy_ws_ += frame;
  if (!options_.keeps_idle) remove_idle();
}

void CloudsimWorld::remove_idle() {
  for (size_t v = 0; v < vms_.size(); ++v) {
    SimVm& vm = vms_[v];
    if (vm.is_gone || vm.is_migrating || vm.demand != 0) continue;
    std::erase(hosts_[static_cast<size_t>(vm.host)].vms, static_cast<int>(v));
    vm.is_gone = true;
    vm.host = -1;
  }
}

void CloudsimWorld::begin_move(const SimMove& move) {
  SimVm& vm = vms_[static_cast<size_t>(move.vm)];
  vm.is_migrating = true;
  hosts_[static_cast<size_t>(move.host)].vms.push_back(move.vm);
  update_host(static_cast<size_t>(move.host));
  update_host(static_cast<size_t>(vm.host));
  arrivals_.push_back({now_ + vm.ram_mb / kMbPerSecond, migrations_++, move});
  std::push_heap(arrivals_.begin(), arrivals_.end(), kLater);
}

void CloudsimWorld::finish_move(const SimMove& move) {
  SimVm& vm = vms_[static_cast<size_t>(move.vm)];
  std::erase(hosts_[static_cast<size_t>(vm.host)].vms, move.vm);
  std::erase(hosts_[static_cast<size_t>(move.host)].vms, move.vm);
  hosts_[static_cast<size_t>(move.host)].vms.push_back(move.vm);
  vm.host = move.host;
  vm.is_migrating = false;
}

SimSample CloudsimWorld::sample() const {
  SimSample sample{.migrations = migrations_};
  double asked = 0, got = 0;
  for (const SimHost& host : hosts_) {
    sample.hosts_on += host.utilisation > 0;
    got += std::min(host.utilisation, 1.0) * host.total_mips;
  }
  for (const SimVm& vm : vms_) asked += vm.is_gone ? 0 : vm.demand;
  sample.short_share = asked > 0 ? std::max(0.0, 1 - got / asked) : 0;
  return sample;
}

Result<SimResult> CloudsimWorld::run(SimPolicy& policy) {
  FR_CHECK(start(policy));
  double tick = kFirstTick_s;
  while (tick <= kDay_s || !arrivals_.empty()) {
    if (tick <= kDay_s && (arrivals_.empty() || arrivals_.front().time > tick)) {
      advance(tick, true);
      ++ticks_;
      samples_.push_back(sample());
      for (const SimMove& move : policy.round(*this)) begin_move(move);
      tick += kTick_s;
      if (options_.progress) options_.progress(std::min(1.0, tick / kDay_s));
      continue;
    }
    const double time = arrivals_.front().time;
    advance(time, false);
    while (!arrivals_.empty() && arrivals_.front().time == time) {
      std::pop_heap(arrivals_.begin(), arrivals_.end(), kLater);
      const SimMove move = arrivals_.back().move;
      arrivals_.pop_back();
      finish_move(move);
    }
    advance(time, false);
  }
  meter_.finish();
  SimResult result;
  double drawn_ws = energy_ws_;
  if (!policy.is_power_aware()) {
    drawn_ws = 0;
    for (const SimHost& host : hosts_) drawn_ws += host.power->max();
    drawn_ws *= now_;
  }
  result.kwh = drawn_ws / 3.6e6;
  result.migrations = migrations_;
  result.sla = meter_.figures();
  result.shutdowns = meter_.shutdowns();
  result.active_host_hours = meter_.active_s() / 3600;
  result.samples = std::move(samples_);
  return result;
}

}  // namespace forerun::place
