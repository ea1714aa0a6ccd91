#include "place/load_book.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace forerun::place {

LoadBook::LoadBook(const FleetState& fleet, const Options& options)
    : fleet_(fleet), options_(options), hosts_(fleet.hosts.size()), where_(fleet.vms.size(), -1) {
  for (const FleetVm& vm : fleet.vms)
    if (vm.host >= 0)
      samples_ = std::max(samples_, std::min<size_t>(vm.past.size(), options.window));
  double left = 1;
  for (size_t i = 0; i < samples_; ++i) {
    const bool is_oldest = i + 1 == samples_;
    weights_.push_back(static_cast<float>(is_oldest ? left : left * options.smoothing));
    left *= 1 - options.smoothing;
  }
  series_.assign(fleet.vms.size() * samples_, 0);
  sums_.assign(fleet.hosts.size() * samples_, 0);
  for (size_t v = 0; v < fleet.vms.size(); ++v) {
    const FleetVm& vm = fleet.vms[v];
    if (vm.host < 0) continue;
    const size_t count = std::min(samples_, vm.past.size());
    std::copy_n(vm.past.rbegin(), count, series_.begin() + static_cast<ptrdiff_t>(v * samples_));
    add(vm.host, static_cast<int>(v), 1);
  }
  for (size_t h = 0; h < hosts_.size(); ++h) {
    refresh(static_cast<int>(h));
    if (fleet.hosts[h].takes_vms && !hosts_[h].vms.empty()) open(static_cast<int>(h));
  }
}

void LoadBook::open(int host) {
  Host& opened = hosts_[index(host)];
  if (opened.is_open) return;
  opened.is_open = true;
  open_.emplace(risk(opened.load), host);
}

void LoadBook::close(int host) {
  Host& closed = hosts_[index(host)];
  if (!closed.is_open) return;
  closed.is_open = false;
  open_.erase({risk(closed.load), host});
}

double LoadBook::risk(const HostLoad& load) const {
  return has_past() ? load.mean + options_.quantile_sd * load.sd : load.now;
}

bool LoadBook::fits(const HostLoad& load) const {
  return risk(load) <= (has_past() ? 1.0 : options_.first_fill);
}

// The mean is the larger of the window's and the exponentially weighted one: to foresee too much
// costs a little room, too little costs the guests. Sums run in eight lanes, which compilers
// vectorise without changing their order.
HostLoad LoadBook::load_of(std::span<const float> sum, std::span<const float> series, float sign,
                           double now, double capacity) const {
  constexpr size_t kLanes = 8;
  std::array<float, kLanes> total{}, squares{}, weighted{};
  const size_t whole = samples_ - samples_ % kLanes;
  const auto take = [&](size_t i, size_t lane) {
    const float value = sum[i] + sign * series[i];
    total[lane] += value;
    squares[lane] += value * value;
    weighted[lane] += value * weights_[i];
  };
  for (size_t i = 0; i < whole; i += kLanes)
    for (size_t lane = 0; lane < kLanes; ++lane) take(i + lane, lane);
  for (size_t i = whole; i < samples_; ++i) take(i, i - whole);
  double all = 0, all_squares = 0, recent = 0;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    all += total[lane];
    all_squares += squares[lane];
    recent += weighted[lane];
  }
  const double n = static_cast<double>(std::max<size_t>(samples_, 1));
  const double mean = all / n;
  const double variance =
      samples_ > 1 ? std::max(0.0, all_squares - n * mean * mean) / (n - 1) : 0.0;
  return {now / capacity, std::max(mean, recent) / capacity, std::sqrt(variance) / capacity};
}

HostLoad LoadBook::changed(int host, int vm, int sign) const {
  const Host& at = hosts_[index(host)];
  return load_of({sums_.data() + index(host) * samples_, samples_}, series_of(vm),
                 static_cast<float>(sign), at.now + sign * fleet_.vms[index(vm)].demand,
                 fleet_.hosts[index(host)].capacity);
}

void LoadBook::add(int host, int vm, int sign) {
  Host& at = hosts_[index(host)];
  const FleetVm& added = fleet_.vms[index(vm)];
  const auto series = series_of(vm);
  const auto sum = sum_of(host);
  for (size_t i = 0; i < samples_; ++i) sum[i] += static_cast<float>(sign) * series[i];
  at.now += sign * added.demand;
  at.memory_mb += sign * added.memory_mb;
  if (sign > 0) {
    at.vms.push_back(vm);
    where_[index(vm)] = host;
  } else {
    std::erase(at.vms, vm);
  }
}

void LoadBook::refresh(int host) {
  Host& at = hosts_[index(host)];
  const auto sum = sum_of(host);
  at.load = load_of(sum, sum, 0, at.now, fleet_.hosts[index(host)].capacity);
}

void LoadBook::move(int vm, int to) {
  const int from = host_of(vm);
  for (const int host : {from, to}) {
    const bool was_open = hosts_[index(host)].is_open;
    close(host);
    add(host, vm, host == to ? 1 : -1);
    refresh(host);
    if (was_open) open(host);
  }
}

}  // namespace forerun::place
