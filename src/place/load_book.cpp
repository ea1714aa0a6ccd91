#include "place/load_book.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace forerun::place {
namespace {

constexpr double kTogetherMin = 0.25, kTogetherMax = 16;

double expected_of(const FleetVm& vm) {
  return vm.expected.is_known ? vm.expected.mean : vm.demand;
}

}  // namespace

LoadBook::LoadBook(const FleetState& fleet, const Options& options)
    : fleet_(fleet), options_(options), hosts_(fleet.hosts.size()), where_(fleet.vms.size(), -1) {
  for (const FleetVm& vm : fleet.vms)
    if (vm.host >= 0 || vm.starts)
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
    if (vm.host < 0 && !vm.starts) continue;
    const size_t count = std::min(samples_, vm.past.size());
    std::copy_n(vm.past.rbegin(), count, series_.begin() + static_cast<ptrdiff_t>(v * samples_));
  }
  if (std::any_of(fleet.vms.begin(), fleet.vms.end(),
                  [](const FleetVm& vm) { return vm.expected.is_known; }))
    fill_variances();
  for (size_t v = 0; v < fleet.vms.size(); ++v)
    if (fleet.vms[v].host >= 0) add(fleet.vms[v].host, static_cast<int>(v), 1);
  for (size_t h = 0; h < hosts_.size(); ++h) {
    refresh(static_cast<int>(h));
    if (fleet.hosts[h].takes_vms && !hosts_[h].vms.empty()) open(static_cast<int>(h));
  }
}

void LoadBook::fill_variances() {
  variances_.assign(fleet_.vms.size(), 0);
  for (size_t v = 0; v < variances_.size() && samples_ > 1; ++v) {
    const auto series = series_of(static_cast<int>(v));
    double sum = 0, squares = 0;
    for (const float value : series) {
      sum += value;
      squares += double{value} * value;
    }
    const auto n = static_cast<double>(samples_);
    variances_[v] = std::max(0.0, squares - sum * sum / n) / (n - 1);
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
  const double past = has_past() ? load.mean + options_.quantile_sd * load.sd : load.now;
  if (!load.is_foreseen) return past;
  return std::max(past, load.ahead + options_.quantile_sd * load.ahead_sd);
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

// Forecasts err together as demands vary together: the variance of their sum is what it would be
// if they were independent, times what the past's was of that.
void LoadBook::foresee(HostLoad& load, double expected, double expected_variance,
                       double own_variance, double capacity) const {
  const double variance = load.sd * load.sd * capacity * capacity;
  const double together =
      own_variance > 0 ? std::clamp(variance / own_variance, kTogetherMin, kTogetherMax) : 1.0;
  load.is_foreseen = true;
  load.ahead = expected / capacity;
  load.ahead_sd = std::sqrt(std::max(0.0, expected_variance) * together) / capacity;
}

HostLoad LoadBook::changed(int host, int vm, int sign) const {
  const Host& at = hosts_[index(host)];
  const FleetVm& other = fleet_.vms[index(vm)];
  const double capacity = fleet_.hosts[index(host)].capacity;
  HostLoad load = load_of({sums_.data() + index(host) * samples_, samples_}, series_of(vm),
                          static_cast<float>(sign), at.now + sign * other.demand, capacity);
  if (foresees())
    foresee(load, at.expected + sign * expected_of(other),
            at.expected_variance + sign * other.expected.sd * other.expected.sd,
            at.own_variance + sign * variances_[index(vm)], capacity);
  return load;
}

void LoadBook::add(int host, int vm, int sign) {
  Host& at = hosts_[index(host)];
  const FleetVm& added = fleet_.vms[index(vm)];
  const auto series = series_of(vm);
  const auto sum = sum_of(host);
  for (size_t i = 0; i < samples_; ++i) sum[i] += static_cast<float>(sign) * series[i];
  at.now += sign * added.demand;
  at.memory_mb += sign * added.memory_mb;
  if (foresees()) {
    at.expected += sign * expected_of(added);
    at.expected_variance += sign * added.expected.sd * added.expected.sd;
    at.own_variance += sign * variances_[index(vm)];
  }
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
  const double capacity = fleet_.hosts[index(host)].capacity;
  at.load = load_of(sum, sum, 0, at.now, capacity);
  if (foresees()) foresee(at.load, at.expected, at.expected_variance, at.own_variance, capacity);
}

void LoadBook::change(int host, int vm, int sign) {
  const bool was_open = hosts_[index(host)].is_open;
  close(host);
  add(host, vm, sign);
  refresh(host);
  if (was_open) open(host);
}

void LoadBook::move(int vm, int to) {
  if (host_of(vm) >= 0) change(host_of(vm), vm, -1);
  change(to, vm, 1);
}

void LoadBook::remove(int vm) {
  change(host_of(vm), vm, -1);
  where_[index(vm)] = -1;
}

}  // namespace forerun::place
