#include "place/reference_policies.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include "place/cloudsim_world.h"

namespace forerun::place {
namespace {

constexpr size_t kPast = 30;
constexpr double kSafety_max = 100;

// Hosts in the order of their numbers, nothing moves.
class FirstFit final : public SimPolicy {
 public:
  explicit FirstFit(bool is_power_aware) : is_power_aware_(is_power_aware) {}
  int first_host(const SimWorld& world, int vm) override {
    for (size_t h = 0; h < world.hosts().size(); ++h)
      if (world.can_start(static_cast<int>(h), world.vms()[static_cast<size_t>(vm)]))
        return static_cast<int>(h);
    return -1;
  }
  std::vector<SimMove> round(const SimWorld& /*world*/) override { return {}; }
  bool is_power_aware() const override { return is_power_aware_; }

 private:
  bool is_power_aware_;
};

// Consolidation with the least migration time: CloudSim's optimizeAllocation.
class Consolidation final : public SimPolicy {
 public:
  explicit Consolidation(std::unique_ptr<Detector> detector) : detector_(std::move(detector)) {}
  int first_host(const SimWorld& world, int vm) override;
  std::vector<SimMove> round(const SimWorld& world) override;

 private:
  // A host as it would be after the moves tried so far.
  struct Tried {
    std::vector<int> vms;
    double free_mips = 0;
    double allocated = 0;
    double requested = 0;
    double memory_mb = 0;
    std::array<double, kPast> past{};  // as the detector wants it, newest first
    bool takes_none = false;           // as destination
    bool is_candidate = false;         // to be emptied
    double power_now = 0;
  };

  const SimVm& vm_of(int v) const { return world_->vms()[static_cast<size_t>(v)]; }
  void refresh(size_t host);
  void add_past(Tried& tried, const SimVm& vm, double total_mips) const;
  bool is_over(size_t host) const;
  bool is_over_with(size_t host, const SimVm& vm) const;
  bool suits(size_t host, const SimVm& vm) const;
  int find_host(const SimVm& vm) const;
  void put(int vm, int host);
  void take_off(int vm, int host);
  std::vector<int> relieve(std::span<const uint8_t> over);
  void sort_by_demand(std::vector<int>& vms) const;
  bool place_all(std::vector<int> vms, std::vector<SimMove>& moves);
  std::vector<SimMove> empty_hosts();

  std::unique_ptr<Detector> detector_;
  const SimWorld* world_ = nullptr;
  std::vector<Tried> tried_;
};

int Consolidation::first_host(const SimWorld& world, int vm) {
  const SimVm& starting = world.vms()[static_cast<size_t>(vm)];
  double least = std::numeric_limits<double>::max();
  int found = -1;
  for (size_t h = 0; h < world.hosts().size(); ++h) {
    const SimHost& host = world.hosts()[h];
    const int id = static_cast<int>(h);
    if (!world.can_start(id, starting)) continue;
    const double reserved = world.reserved_mips(id);
    // Only the VM that starts has a demand yet.
    if (reserved != 0 && detector_->is_over(starting.mips / host.total_mips, {})) continue;
    const double watts =
        host.power->at((reserved + starting.mips) / host.total_mips) - host.power->at(0);
    if (watts < least) {
      least = watts;
      found = id;
    }
  }
  return found;
}

void Consolidation::add_past(Tried& tried, const SimVm& vm, double total_mips) const {
  const size_t depth = std::min(detector_->depth(), vm.history.size());
  for (size_t i = 0; i < depth; ++i)
    tried.past[i] += vm.history[vm.history.size() - 1 - i] * vm.mips / total_mips;
}

void Consolidation::refresh(size_t id) {
  Tried& tried = tried_[id];
  const SimHost& host = world_->hosts()[id];
  std::vector<SimDemand> demands;
  tried.requested = tried.memory_mb = 0;
  tried.past.fill(0);
  for (const int v : tried.vms) {
    const SimVm& vm = world_->vms()[static_cast<size_t>(v)];
    demands.push_back({vm.demand, SimRole::kHere});
    tried.requested += vm.demand;
    tried.memory_mb += vm.ram_mb;
    add_past(tried, vm, host.total_mips);
  }
  std::vector<double> allocated;
  tried.free_mips = allocate(host.core_mips, host.total_mips, demands, allocated);
  tried.allocated = 0;
  for (const double mips : allocated) tried.allocated += mips;
}

// Without the zeros at the end; one value is left even if all are.
std::span<const double> trimmed(const std::array<double, kPast>& past, size_t depth) {
  size_t length = depth;
  while (length > 1 && past[length - 1] == 0) --length;
  return {past.data(), length};
}

bool Consolidation::is_over(size_t id) const {
  const Tried& tried = tried_[id];
  return detector_->is_over(tried.requested / world_->hosts()[id].total_mips,
                            trimmed(tried.past, detector_->depth()));
}

bool Consolidation::is_over_with(size_t id, const SimVm& vm) const {
  Tried with;
  const double total = world_->hosts()[id].total_mips;
  with.past = tried_[id].past;
  add_past(with, vm, total);
  return detector_->is_over((tried_[id].requested + vm.demand) / total,
                            trimmed(with.past, detector_->depth()));
}

bool Consolidation::suits(size_t id, const SimVm& vm) const {
  const SimHost& host = world_->hosts()[id];
  if (host.memory_mb > 0 && tried_[id].memory_mb + vm.ram_mb > host.memory_mb) return false;
  return host.core_mips >= vm.demand && tried_[id].free_mips >= vm.demand;
}

int Consolidation::find_host(const SimVm& vm) const {
  double least = std::numeric_limits<double>::max();
  int found = -1;
  for (size_t id = 0; id < tried_.size(); ++id) {
    const Tried& tried = tried_[id];
    if (tried.takes_none || !suits(id, vm)) continue;
    const SimHost& host = world_->hosts()[id];
    const double watts =
        host.power->at((tried.allocated + vm.demand) / host.total_mips) - tried.power_now;
    if (watts >= least) continue;
    if (tried.allocated != 0 && is_over_with(id, vm)) continue;
    least = watts;
    found = static_cast<int>(id);
  }
  return found;
}

void Consolidation::put(int vm, int host) {
  tried_[static_cast<size_t>(host)].vms.push_back(vm);
  refresh(static_cast<size_t>(host));
}

void Consolidation::take_off(int vm, int host) {
  auto& vms = tried_[static_cast<size_t>(host)].vms;
  vms.erase(std::find(vms.begin(), vms.end(), vm));
  refresh(static_cast<size_t>(host));
}

// Takes VMs off hosts that are over, those with the least memory first.
std::vector<int> Consolidation::relieve(std::span<const uint8_t> over) {
  std::vector<int> taken;
  for (size_t id = 0; id < tried_.size(); ++id) {
    if (!over[id]) continue;
    for (;;) {
      int least = -1;
      for (const int v : tried_[id].vms)
        if (!vm_of(v).is_migrating && (least < 0 || vm_of(v).ram_mb < vm_of(least).ram_mb))
          least = v;
      if (least < 0) break;
      taken.push_back(least);
      take_off(least, static_cast<int>(id));
      if (!is_over(id)) break;
    }
  }
  return taken;
}

// The most first; VMs that ask for the same keep their order.
void Consolidation::sort_by_demand(std::vector<int>& vms) const {
  std::vector<std::pair<double, size_t>> order;
  for (size_t i = 0; i < vms.size(); ++i)
    order.emplace_back(-world_->vms()[static_cast<size_t>(vms[i])].demand, i);
  std::sort(order.begin(), order.end());
  std::vector<int> sorted;
  for (const auto& [demand, i] : order) sorted.push_back(vms[i]);
  vms = std::move(sorted);
}

bool Consolidation::place_all(std::vector<int> vms, std::vector<SimMove>& moves) {
  sort_by_demand(vms);
  const size_t before = moves.size();
  for (const int v : vms) {
    const int host = find_host(world_->vms()[static_cast<size_t>(v)]);
    if (host < 0) {
      for (size_t i = before; i < moves.size(); ++i) take_off(moves[i].vm, moves[i].host);
      moves.resize(before);
      return false;
    }
    put(v, host);
    moves.push_back({v, host});
  }
  return true;
}

// Empties the least utilised hosts. Those that just took VMs off others are not spared: CloudSim
// builds the list of them before there are any.
std::vector<SimMove> Consolidation::empty_hosts() {
  std::vector<SimMove> moves;
  for (;;) {
    double least = 1;
    int found = -1;
    for (size_t id = 0; id < tried_.size(); ++id) {
      const double utilisation = world_->hosts()[id].utilisation;
      if (!tried_[id].is_candidate || utilisation <= 0 || utilisation >= least ||
          tried_[id].vms.empty())
        continue;
      least = utilisation;
      found = static_cast<int>(id);
    }
    if (found < 0) return moves;
    Tried& chosen = tried_[static_cast<size_t>(found)];
    chosen.is_candidate = false;
    chosen.takes_none = true;
    if (std::any_of(chosen.vms.begin(), chosen.vms.end(),
                    [&](int v) { return vm_of(v).is_migrating; }))
      continue;
    const size_t before = moves.size();
    place_all(chosen.vms, moves);
    for (size_t i = before; i < moves.size(); ++i)
      tried_[static_cast<size_t>(moves[i].host)].is_candidate = false;
  }
}

std::vector<SimMove> Consolidation::round(const SimWorld& world) {
  world_ = &world;
  tried_.assign(world.hosts().size(), {});
  std::vector<uint8_t> over(tried_.size());
  for (size_t id = 0; id < tried_.size(); ++id) {
    tried_[id].vms = world.hosts()[id].vms;
    tried_[id].power_now = world.hosts()[id].power->at(world.hosts()[id].utilisation);
    refresh(id);
    over[id] = is_over(id);
  }
  std::vector<int> taken = relieve(over);
  for (size_t id = 0; id < tried_.size(); ++id) tried_[id].takes_none = over[id];
  sort_by_demand(taken);
  std::vector<SimMove> moves;
  for (const int v : taken) {
    const int host = find_host(world.vms()[static_cast<size_t>(v)]);
    if (host < 0) continue;
    put(v, host);
    moves.push_back({v, host});
  }
  for (size_t id = 0; id < tried_.size(); ++id) {
    const bool is_off = world.hosts()[id].utilisation == 0;
    tried_[id].is_candidate = !over[id] && !is_off;
    tried_[id].takes_none = over[id] || is_off;
  }
  const auto emptied = empty_hosts();
  moves.insert(moves.end(), emptied.begin(), emptied.end());
  return moves;
}

}  // namespace

std::vector<std::string_view> reference_policy_names() {
  return {"npa", "dvfs", "thr_mmt_0.8", "iqr_mmt_1.5", "mad_mmt_2.5", "lr_mmt_1.2"};
}

std::unique_ptr<SimPolicy> make_reference_policy(std::string_view name) {
  if (name == "npa") return std::make_unique<FirstFit>(false);
  if (name == "dvfs") return std::make_unique<FirstFit>(true);
  for (const std::string_view kind : {"thr", "iqr", "mad", "lr"}) {
    constexpr std::string_view kSelection = "_mmt_";
    if (!name.starts_with(kind) || !name.substr(kind.size()).starts_with(kSelection)) continue;
    const std::string_view number = name.substr(kind.size() + kSelection.size());
    double safety = 0;
    const auto [stop, error] =
        std::from_chars(number.data(), number.data() + number.size(), safety);
    if (error != std::errc{} || stop != number.data() + number.size() || !(safety > 0) ||
        safety > kSafety_max)
      return nullptr;
    return std::make_unique<Consolidation>(make_detector(kind, safety));
  }
  return nullptr;
}

}  // namespace forerun::place
