#include "place/balancers.h"

#include <algorithm>
#include <cmath>

#include "core/rng.h"
#include "place/reference_policies.h"

namespace forerun::place {
namespace {

class Balancer : public SimPolicy {
 public:
  int first_host(const SimWorld& world, int vm) final { return first_fit_->first_host(world, vm); }

 protected:
  // Demand of every host, of its capacity.
  static std::vector<double> demands(const SimWorld& world) {
    std::vector<double> asked(world.hosts().size());
    for (const SimVm& vm : world.vms())
      if (vm.host >= 0) asked[static_cast<size_t>(vm.host)] += share(world, vm, vm.host);
    return asked;
  }
  static double share(const SimWorld& world, const SimVm& vm, int host) {
    return vm.demand / world.hosts()[static_cast<size_t>(host)].total_mips;
  }
  // Memory of the VMs of every host, those on their way in as well.
  static std::vector<double> memories(const SimWorld& world) {
    std::vector<double> used(world.hosts().size());
    for (size_t h = 0; h < used.size(); ++h)
      for (const int v : world.hosts()[h].vms)
        used[h] += world.vms()[static_cast<size_t>(v)].ram_mb;
    return used;
  }
  static bool has_memory(const SimWorld& world, std::span<const double> used, const SimVm& vm,
                         int host) {
    const double limit = world.hosts()[static_cast<size_t>(host)].memory_mb;
    return limit == 0 || used[static_cast<size_t>(host)] + vm.ram_mb <= limit;
  }

 private:
  std::unique_ptr<SimPolicy> first_fit_ = make_reference_policy("dvfs");
};

// After ProxLB 1.1: every twelve hours, while the most and the least used host are more than a
// tenth apart, the busiest guest of the one goes to the other; each guest at most once.
class Snapshot final : public Balancer {
 public:
  std::vector<SimMove> round(const SimWorld& world) override {
    constexpr uint32_t kInterval_ticks = 144;
    constexpr double kBalanciness = 0.1;
    if (world.ticks() % kInterval_ticks != 1) return {};
    std::vector<double> asked = demands(world);
    std::vector<double> memory = memories(world);
    std::vector<uint8_t> is_moved(world.vms().size());
    std::vector<SimMove> moves;
    for (;;) {
      const auto [least, most] = std::minmax_element(asked.begin(), asked.end());
      if (*most - *least <= kBalanciness) return moves;
      const int from = static_cast<int>(most - asked.begin());
      const int to = static_cast<int>(least - asked.begin());
      int busiest = -1;
      for (const int v : world.hosts()[static_cast<size_t>(from)].vms)
        if (may_go(world, is_moved, memory, v, to) &&
            (busiest < 0 || demand(world, v) > demand(world, busiest)))
          busiest = v;
      if (busiest < 0) return moves;
      const SimVm& vm = world.vms()[static_cast<size_t>(busiest)];
      asked[static_cast<size_t>(from)] -= share(world, vm, from);
      asked[static_cast<size_t>(to)] += share(world, vm, to);
      memory[static_cast<size_t>(to)] += vm.ram_mb;
      is_moved[static_cast<size_t>(busiest)] = true;
      moves.push_back({busiest, to});
    }
  }

 private:
  static bool may_go(const SimWorld& world, std::span<const uint8_t> is_moved,
                     std::span<const double> memory, int v, int to) {
    const SimVm& vm = world.vms()[static_cast<size_t>(v)];
    return !is_moved[static_cast<size_t>(v)] && !vm.is_migrating &&
           has_memory(world, memory, vm, to);
  }
  static double demand(const SimWorld& world, int v) {
    return world.vms()[static_cast<size_t>(v)].demand;
  }
};

// After OpenStack Watcher's workload_stabilization: while the standard deviation of the hosts is
// above 0.2, every VM is tried on one random host, and the best of these moves is made.
class Stddev final : public Balancer {
 public:
  explicit Stddev(uint64_t seed) : rng_(seed) {}
  std::vector<SimMove> round(const SimWorld& world) override {
    constexpr double kThreshold = 0.2;
    std::vector<double> asked = demands(world);
    std::vector<double> memory = memories(world);
    std::vector<uint8_t> is_moved(world.vms().size());
    std::vector<SimMove> moves;
    for (;;) {
      const Moments moments = moments_of(asked);
      double spread = moments.deviation();
      if (spread <= kThreshold) break;
      SimMove best{-1, -1};
      for (size_t v = 0; v < world.vms().size(); ++v) {
        const SimVm& vm = world.vms()[v];
        const int to = static_cast<int>(rng_.below(asked.size()));
        if (vm.host < 0 || vm.is_migrating || is_moved[v] || to == vm.host ||
            !has_memory(world, memory, vm, to))
          continue;
        const double after = deviation_after(world, asked, moments, vm, to);
        if (after >= spread) continue;
        spread = after;
        best = {static_cast<int>(v), to};
      }
      if (best.vm < 0) break;
      const SimVm& vm = world.vms()[static_cast<size_t>(best.vm)];
      asked[static_cast<size_t>(vm.host)] -= share(world, vm, vm.host);
      asked[static_cast<size_t>(best.host)] += share(world, vm, best.host);
      memory[static_cast<size_t>(best.host)] += vm.ram_mb;
      is_moved[static_cast<size_t>(best.vm)] = true;
      moves.push_back(best);
    }
    return moves;
  }

 private:
  struct Moments {
    double sum = 0, squares = 0, count = 0;
    void change(double from, double to) {
      sum += to - from;
      squares += to * to - from * from;
    }
    double deviation() const {
      return std::sqrt(std::max(0.0, squares / count - sum / count * sum / count));
    }
  };
  static Moments moments_of(std::span<const double> values) {
    Moments moments;
    for (const double value : values) {
      moments.sum += value;
      moments.squares += value * value;
    }
    moments.count = static_cast<double>(values.size());
    return moments;
  }
  static double deviation_after(const SimWorld& world, std::span<const double> asked,
                                Moments moments, const SimVm& vm, int to) {
    const double from_load = asked[static_cast<size_t>(vm.host)];
    const double to_load = asked[static_cast<size_t>(to)];
    moments.change(from_load, from_load - share(world, vm, vm.host));
    moments.change(to_load, to_load + share(world, vm, to));
    return moments.deviation();
  }

  Rng rng_;
};

}  // namespace

std::vector<std::string_view> balancer_names() { return {"snapshot", "stddev"}; }

std::unique_ptr<SimPolicy> make_balancer(std::string_view name, uint64_t seed) {
  if (name == "snapshot") return std::make_unique<Snapshot>();
  if (name == "stddev") return std::make_unique<Stddev>(seed);
  return nullptr;
}

}  // namespace forerun::place
