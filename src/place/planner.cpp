#include "place/planner.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace forerun::place {

std::string_view move_reason_name(MoveReason reason) {
  switch (reason) {
    case MoveReason::kRelief:
      return "relief";
    case MoveReason::kConsolidate:
      return "consolidate";
    case MoveReason::kDrain:
      return "drain";
  }
  return "";
}

// One plan while it is made.
struct Planner::Round {
  Round(const FleetState& state, const PlannerOptions& chosen)
      : fleet(state),
        options(chosen),
        book(state, chosen.load),
        is_moved(state.vms.size()),
        took_vms(state.hosts.size()) {}

  const FleetState& fleet;
  const PlannerOptions& options;
  LoadBook book;
  std::vector<uint8_t> is_moved, took_vms;
  Plan plan;

  const FleetVm& vm(int v) const { return fleet.vms[static_cast<size_t>(v)]; }
  const FleetHost& host(int h) const { return fleet.hosts[static_cast<size_t>(h)]; }
  int host_count() const { return static_cast<int>(fleet.hosts.size()); }

  bool is_over(const HostLoad& load) const {
    return load.now > options.over_now && (!book.has_past() || load.mean > options.over_mean);
  }
  bool is_cool(int v) const {
    const uint32_t doublings = std::min(vm(v).moves_lately > 0 ? vm(v).moves_lately - 1 : 0,
                                        options.cool_down_doublings_max);
    return vm(v).ticks_since_move >= uint64_t{options.cool_down_ticks} << doublings;
  }
  bool may_move(int v) const {
    return vm(v).may_move && !is_moved[static_cast<size_t>(v)] && is_cool(v);
  }
  bool has_room(int h, int v, Alternatives& alternatives) const {
    const FleetHost& to = host(h);
    if (to.memory_mb > 0 && book.memory_mb(h) + vm(v).memory_mb > to.memory_mb) {
      ++alternatives.over_memory;
      return false;
    }
    if (to.core_capacity > 0 && vm(v).demand > to.core_capacity) {
      ++alternatives.over_load;
      return false;
    }
    return true;
  }

  int find_open_host(int v, Alternatives& alternatives) const;
  int find_idle_host(int v, Alternatives& alternatives) const;
  void move(int v, int to, MoveReason reason, const Alternatives& alternatives);
  void undo_to(size_t count);
  int choose_to_relieve(int h) const;
  void relieve(int h);
  void relieve_all();
  void drain_all();
  std::vector<int> hosts_to_free();
  bool free_host(int h);
  void free_all();
};

// Where the risk is least afterwards: for a given number of hosts, even risk is least overload.
int Planner::Round::find_open_host(int v, Alternatives& alternatives) const {
  double least = 0, second_least = 0;
  int found = -1;
  uint32_t tried = 0;
  for (const auto& [risk, h] : book.open_hosts()) {
    if (tried == options.hosts_tried_max) break;
    if (h == book.host_of(v)) continue;
    ++tried;
    ++alternatives.considered;
    if (!has_room(h, v, alternatives)) continue;
    const HostLoad after = book.with(h, v);
    if (!book.fits(after)) {
      ++alternatives.over_load;
      continue;
    }
    const double risk_after = book.risk(after);
    if (found >= 0 && risk_after >= least) {
      if (alternatives.second < 0 || risk_after < second_least) {
        alternatives.second = h;
        second_least = risk_after;
      }
      continue;
    }
    alternatives.second = found;
    second_least = least;
    least = risk_after;
    found = h;
  }
  return found;
}

// The idle host that gives most for its power.
int Planner::Round::find_idle_host(int v, Alternatives& alternatives) const {
  double least = 0;
  int found = -1;
  for (int h = 0; h < host_count(); ++h) {
    if (!book.vms(h).empty() || !host(h).takes_vms || h == book.host_of(v)) continue;
    const double watts = host(h).power ? host(h).power->max() : 1;
    if (found >= 0 && watts / host(h).capacity >= least) continue;
    ++alternatives.considered;
    if (!has_room(h, v, alternatives)) continue;
    least = watts / host(h).capacity;
    found = h;
  }
  return found;
}

void Planner::Round::move(int v, int to, MoveReason reason, const Alternatives& alternatives) {
  PlannedMove move;
  move.vm = v;
  move.from = book.host_of(v);
  move.to = to;
  move.reason = reason;
  move.wakes_host = book.vms(to).empty();
  move.from_before = book.load(move.from);
  move.to_before = book.load(to);
  move.alternatives = alternatives;
  book.move(v, to);
  if (move.wakes_host) book.open(to);
  move.from_after = book.load(move.from);
  move.to_after = book.load(to);
  is_moved[static_cast<size_t>(v)] = true;
  plan.moves.push_back(move);
}

void Planner::Round::undo_to(size_t count) {
  while (plan.moves.size() > count) {
    const PlannedMove& last = plan.moves.back();
    book.move(last.vm, last.from);
    is_moved[static_cast<size_t>(last.vm)] = false;
    plan.moves.pop_back();
  }
}

// The smallest VM without which the host is no longer contended; if there is none, the largest.
int Planner::Round::choose_to_relieve(int h) const {
  int best = -1;
  std::pair<bool, double> best_rank;
  for (const int v : book.vms(h)) {
    if (!may_move(v)) continue;
    const bool suffices = !is_over(book.without(h, v));
    const std::pair rank(suffices, suffices ? -vm(v).demand : vm(v).demand);
    if (best >= 0 && rank <= best_rank) continue;
    best = v;
    best_rank = rank;
  }
  return best;
}

void Planner::Round::relieve(int h) {
  while (is_over(book.load(h))) {
    const int v = choose_to_relieve(h);
    Alternatives alternatives;
    if (v < 0) {
      plan.unrelieved.push_back({h, Unrelieved::Why::kCoolingDown, book.load(h), alternatives});
      return;
    }
    int to = find_open_host(v, alternatives);
    if (to < 0) to = find_idle_host(v, alternatives);
    if (to < 0) {
      plan.unrelieved.push_back({h, Unrelieved::Why::kNoHost, book.load(h), alternatives});
      return;
    }
    move(v, to, MoveReason::kRelief, alternatives);
    took_vms[static_cast<size_t>(to)] = true;
  }
}

void Planner::Round::relieve_all() {
  std::vector<std::pair<double, int>> over;
  for (int h = 0; h < host_count(); ++h)
    if (is_over(book.load(h))) over.emplace_back(-book.load(h).now, h);
  std::sort(over.begin(), over.end());
  for (const auto& [load, h] : over) relieve(h);
}

void Planner::Round::drain_all() {
  for (int h = 0; h < host_count(); ++h) {
    if (host(h).takes_vms) continue;
    const std::vector<int> vms(book.vms(h).begin(), book.vms(h).end());
    for (const int v : vms) {
      if (!vm(v).may_move) continue;
      Alternatives alternatives;
      int to = find_open_host(v, alternatives);
      if (to < 0) to = find_idle_host(v, alternatives);
      if (to < 0) {
        plan.unrelieved.push_back({h, Unrelieved::Why::kNoHost, book.load(h), alternatives});
        continue;
      }
      move(v, to, MoveReason::kDrain, alternatives);
      took_vms[static_cast<size_t>(to)] = true;
    }
  }
}

// Those of the least expected load, as many as the rest can do without. They take no VMs, so that
// none moves twice.
std::vector<int> Planner::Round::hosts_to_free() {
  std::vector<std::tuple<double, int>> order;
  double capacity = 0, wanted = 0;
  for (int h = 0; h < host_count(); ++h) {
    const auto vms = book.vms(h);
    if (vms.empty() || !host(h).takes_vms) continue;
    capacity += host(h).capacity;
    wanted += book.load(h).mean * host(h).capacity;
    if (took_vms[static_cast<size_t>(h)] ||
        !std::all_of(vms.begin(), vms.end(), [&](int v) { return may_move(v); }))
      continue;
    const double watts = host(h).power ? host(h).power->max() : 1;
    order.emplace_back(book.load(h).mean * host(h).capacity / watts, h);
  }
  std::sort(order.begin(), order.end());
  std::vector<int> freed;
  for (const auto& [load, h] : order) {
    if ((capacity - host(h).capacity) * options.fill < wanted) break;
    capacity -= host(h).capacity;
    book.close(h);
    freed.push_back(h);
  }
  return freed;
}

// All or nothing: a host that keeps one VM saves nothing.
bool Planner::Round::free_host(int h) {
  std::vector<std::pair<double, int>> vms;
  for (const int v : book.vms(h)) vms.emplace_back(-vm(v).demand, v);
  std::sort(vms.begin(), vms.end());
  const size_t before = plan.moves.size();
  for (const auto& [demand, v] : vms) {
    Alternatives alternatives;
    const int to = find_open_host(v, alternatives);
    if (to < 0) {
      undo_to(before);
      return false;
    }
    move(v, to, MoveReason::kConsolidate, alternatives);
  }
  return true;
}

void Planner::Round::free_all() {
  for (const int h : hosts_to_free()) free_host(h);
}

Plan Planner::plan(const FleetState& fleet) const {
  Round round(fleet, options_);
  if (!options_.frees_hosts)
    for (int h = 0; h < round.host_count(); ++h)
      if (round.host(h).takes_vms) round.book.open(h);
  round.drain_all();
  round.relieve_all();
  if (options_.frees_hosts) round.free_all();
  return std::move(round.plan);
}

}  // namespace forerun::place
