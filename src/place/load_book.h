// The expected load of hosts, from the past of the very VMs that are on them: the sum of their
// series, sample by sample, so that their covariance is in it.
#pragma once

#include <set>
#include <span>
#include <utility>
#include <vector>

#include "place/fleet.h"

namespace forerun::place {

// One thread. State: 4 bytes per VM, host and sample of the window, and about 100 per VM and host.
class LoadBook {
 public:
  struct Options {
    uint32_t window = 60;      // ticks of the past that count
    double smoothing = 0.5;    // of the exponentially weighted mean
    double quantile_sd = 1.4;  // standard deviations above the mean that must fit
    uint32_t past_min = 10;    // below, only the demand now is known
    double first_fill = 0.8;   // then a host is filled this far
  };
  // `fleet` must outlive this.
  LoadBook(const FleetState& fleet, const Options& options);

  const HostLoad& load(int host) const { return hosts_[index(host)].load; }
  HostLoad with(int host, int vm) const { return changed(host, vm, 1); }
  HostLoad without(int host, int vm) const { return changed(host, vm, -1); }
  std::span<const int> vms(int host) const { return hosts_[index(host)].vms; }
  int host_of(int vm) const { return where_[index(vm)]; }
  double memory_mb(int host) const { return hosts_[index(host)].memory_mb; }
  bool foresees() const { return !variances_.empty(); }
  bool has_past() const { return samples_ >= options_.past_min; }

  // Demand at the quantile, of capacity, now or ahead; demand now while nothing else is known.
  double risk(const HostLoad& load) const;
  // Returns whether a host may be loaded so.
  bool fits(const HostLoad& load) const;
  // REQUIRES: the VM has a host, or starts.
  void move(int vm, int to);
  void remove(int vm);  // undoes the start of one

  // Hosts that may be given VMs, the least risk first.
  using Order = std::set<std::pair<double, int>>;
  const Order& open_hosts() const { return open_; }
  void open(int host);
  void close(int host);

 private:
  struct Host {
    std::vector<int> vms;
    double now = 0;
    double memory_mb = 0;
    double expected = 0, expected_variance = 0;  // sums of its VMs' forecasts
    double own_variance = 0;                     // sum of its VMs', each for itself
    HostLoad load;
    bool is_open = false;
  };
  static size_t index(int id) { return static_cast<size_t>(id); }
  std::span<float> sum_of(int host) { return {sums_.data() + index(host) * samples_, samples_}; }
  std::span<const float> series_of(int vm) const {
    return {series_.data() + index(vm) * samples_, samples_};
  }
  HostLoad changed(int host, int vm, int sign) const;
  void foresee(HostLoad& load, double expected, double expected_variance, double own_variance,
               double capacity) const;
  void fill_variances();
  HostLoad load_of(std::span<const float> sum, std::span<const float> series, float sign,
                   double now, double capacity) const;
  void add(int host, int vm, int sign);
  void change(int host, int vm, int sign);
  void refresh(int host);

  const FleetState& fleet_;
  Options options_;
  size_t samples_ = 0;
  std::vector<float> weights_;  // of the exponentially weighted mean, newest first
  std::vector<float> series_, sums_;
  std::vector<double> variances_;  // of VMs; empty: nothing is forecast
  std::vector<Host> hosts_;
  std::vector<int> where_;
  Order open_;
};

}  // namespace forerun::place
