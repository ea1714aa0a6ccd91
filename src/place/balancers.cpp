#include "place/balancers.h"

#include <algorithm>
#include <cmath>

#include "core/rng.h"
#include "place/reference_policies.h"

namespace forerun::place {
namespace {

class Balancer : public SimPolicy {
 public:
  int first_host(const CloudsimWorld& world, int vm) final {
    return first_fit_->first_host(world, vm);
  }

 protected:
  // Demand of every host, of its capacity.
  static std::vector<double> demands(const CloudsimWorld& world) {
    std::vector<double> asked(world.hosts().size());
    for (const SimVm& vm : world.vms())
      if (vm.host >= 0) asked[static_cast<size_t>(vm.host)] += share(world, vm, vm.host);
    return asked;
  }
  static double share(const CloudsimWorld& world, const SimVm& vm, int host) {
    return vm.demand / world.hosts()[static_cast<size_t>(host)].total_mips;
  }

 private:
  std::unique_ptr<SimPolicy> first_fit_ = make_reference_policy("dvfs");
};

// After ProxLB 1.1: every twelve hours, while the most and the least used host are more than a
// tenth apart, the busiest guest of the one goes to the other; each guest at most once.
class Snapshot final : public Balancer {
 public:
  std::vector<SimMove> round(const CloudsimWorld& world) override {
    constexpr uint32_t kInterval_ticks = 144;
    constexpr double kBalanciness = 0.1;
    if (world.ticks() % kInterval_ticks != 1) return {};
    std::vector<double> asked = demands(world);
    std::vector<uint8_t> is_moved(world.vms().size());
    std::vector<SimMove> moves;
    for (;;) {
      const auto [least, most] = std::minmax_element(asked.begin(), asked.end());
      if (*most - *least <= kBalanciness) return moves;
      const int from = static_cast<int>(most - asked.begin());
      const int to = static_cast<int>(least - asked.begin());
      int busiest = -1;
      for (const int v : world.hosts()[static_cast<size_t>(from)].vms)
        if (!is_moved[static_cast<size_t>(v)] &&
            (busiest < 0 || demand(world, v) > demand(world, busiest)))
          busiest = v;
      if (busiest < 0) return moves;
      const SimVm& vm = world.vms()[static_cast<size_t>(busiest)];
      asked[static_cast<size_t>(from)] -= share(world, vm, from);
      asked[static_cast<size_t>(to)] += share(world, vm, to);
      is_moved[static_cast<size_t>(busiest)] = true;
      moves.push_back({busiest, to});
    }
  }

 private:
  static double demand(const CloudsimWorld& world, int v) {
    return world.vms()[static_cast<size_t>(v)].demand;
  }
};

// After OpenStack Watcher's workload_stabilization: while the standard deviation of the hosts is
// above 0.2, every VM is tried on one random host, and the best of these moves is made.
class Stddev final : public Balancer {
 public:
  std::vector<SimMove> round(const CloudsimWorld& world) override {
    constexpr double kThreshold = 0.2;
    std::vector<double> asked = demands(world);
    std::vector<uint8_t> is_moved(world.vms().size());
    std::vector<SimMove> moves;
    double spread = deviation(asked);
    while (spread > kThreshold) {
      SimMove best{-1, -1};
      for (size_t v = 0; v < world.vms().size(); ++v) {
        const SimVm& vm = world.vms()[v];
        const int to = static_cast<int>(rng_.below(asked.size()));
        if (vm.host < 0 || is_moved[v] || to == vm.host) continue;
        const double after = deviation_after(world, asked, vm, to);
        if (after >= spread) continue;
        spread = after;
        best = {static_cast<int>(v), to};
      }
      if (best.vm < 0) break;
      const SimVm& vm = world.vms()[static_cast<size_t>(best.vm)];
      asked[static_cast<size_t>(vm.host)] -= share(world, vm, vm.host);
      asked[static_cast<size_t>(best.host)] += share(world, vm, best.host);
      is_moved[static_cast<size_t>(best.vm)] = true;
      moves.push_back(best);
    }
    return moves;
  }

 private:
  static double deviation(const std::vector<double>& values) {
    double sum = 0, squares = 0;
    for (const double value : values) {
      sum += value;
      squares += value * value;
    }
    const double n = static_cast<double>(values.size());
    return std::sqrt(std::max(0.0, squares / n - sum / n * sum / n));
  }
  static double deviation_after(const CloudsimWorld& world, std::vector<double>& asked,
                                const SimVm& vm, int to) {
    double& from_load = asked[static_cast<size_t>(vm.host)];
    double& to_load = asked[static_cast<size_t>(to)];
    const double from_before = from_load, to_before = to_load;
    from_load -= share(world, vm, vm.host);
    to_load += share(world, vm, to);
    const double after = deviation(asked);
    from_load = from_before;
    to_load = to_before;
    return after;
  }

  Rng rng_{1};
};

}  // namespace

std::vector<std::string_view> balancer_names() { return {"snapshot", "stddev"}; }

std::unique_ptr<SimPolicy> make_balancer(std::string_view name) {
  if (name == "snapshot") return std::make_unique<Snapshot>();
  if (name == "stddev") return std::make_unique<Stddev>();
  return nullptr;
}

}  // namespace forerun::place
