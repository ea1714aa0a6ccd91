// What the planner does, step by step; how it finds hosts is in planner_round.cpp.
#include "place/planner.h"

#include <algorithm>
#include <tuple>

#include "place/planner_round.h"

namespace forerun::place {

std::string_view move_reason_name(MoveReason reason) {
  switch (reason) {
    case MoveReason::kRelief:
      return "relief";
    case MoveReason::kConsolidate:
      return "consolidate";
    case MoveReason::kDrain:
      return "drain";
    case MoveReason::kRule:
      return "rule";
    case MoveReason::kPlace:
      return "place";
  }
  return "";
}

std::string_view reject_reason_name(RejectReason reason) {
  switch (reason) {
    case RejectReason::kMemory:
      return "memory";
    case RejectReason::kLoad:
      return "load";
    case RejectReason::kCore:
      return "core";
    case RejectReason::kRule:
      return "rule";
    case RejectReason::kWorse:
      return "worse";
    case RejectReason::kPinned:
      return "pinned";
    case RejectReason::kCoolingDown:
      return "cooling_down";
    case RejectReason::kNotWorth:
      return "not_worth";
    case RejectReason::kPayback:
      return "payback";
    case RejectReason::kNoHost:
      return "no_host";
    case RejectReason::kMoveLimit:
      return "move_limit";
  }
  return "";
}

std::string_view unrelieved_reason_name(Unrelieved::Why why) {
  switch (why) {
    case Unrelieved::Why::kCoolingDown:
      return "cooling_down";
    case Unrelieved::Why::kNoHost:
      return "no_host";
    case Unrelieved::Why::kNotWorth:
      return "not_worth";
    case Unrelieved::Why::kMoveLimit:
      return "move_limit";
  }
  return "";
}

// Those that ask for most first: the small ones find room afterwards.
void PlannerRound::place_all() {
  std::vector<std::pair<double, int>> starting;
  for (size_t v = 0; v < fleet_.vms.size(); ++v)
    if (fleet_.vms[v].host < 0 && fleet_.vms[v].starts)
      starting.emplace_back(-fleet_.vms[v].demand, static_cast<int>(v));
  std::sort(starting.begin(), starting.end());
  for (const auto& [demand, v] : starting) {
    Search search;
    const int to = find_host(v, search);
    if (to < 0)
      give_up(-1, Unrelieved::Why::kNoHost, std::move(search), v);
    else
      move(v, to, MoveReason::kPlace, std::move(search));
  }
}

bool PlannerRound::evict(int v, MoveReason reason, int rule) {
  const std::vector<int> unit = rules_.unit_of(v);
  Search search;
  const int from = book_.host_of(v);
  for (const int member : unit) {
    if (vm(member).may_move && !is_moved(member)) continue;
    reject_vm(search, member, RejectReason::kPinned);
    give_up(from, Unrelieved::Why::kNoHost, std::move(search), v, rule);
    return false;
  }
  if (!has_moves_left(unit.size())) {
    give_up(from, Unrelieved::Why::kMoveLimit, std::move(search), v, rule);
    return false;
  }
  const int to = unit.size() == 1 ? find_host(v, search) : find_host_of(unit, search);
  if (to < 0) {
    give_up(from, Unrelieved::Why::kNoHost, std::move(search), v, rule);
    return false;
  }
  move_unit(unit, to, reason, search, rule);
  return true;
}

void PlannerRound::drain_all() {
  for (int h = 0; h < host_count(); ++h) {
    if (host(h).takes_vms) continue;
    const std::vector<int> vms(book_.vms(h).begin(), book_.vms(h).end());
    for (const int v : vms)
      if (vm(v).may_move && book_.host_of(v) == h) evict(v, MoveReason::kDrain, -1);
  }
}

// The VM that can go most cheaply, among those without which the host is no longer contended; if
// there is none, the one that takes most for what it costs. Moves that are free cost what the VM
// asks for: one large one instead of many small ones, and none larger than it needs.
std::vector<int> PlannerRound::candidates_of(int h, Search& search) const {
  const auto vms = book_.vms(h);
  std::vector<std::tuple<bool, double, size_t>> ranked;  // a tie goes to the one that came first
  for (size_t i = 0; i < vms.size(); ++i) {
    const int v = vms[i];
    if (!vm(v).may_move) {
      reject_vm(search, v, RejectReason::kPinned);
    } else if (is_moved(v) || ticks_to_cool(v) > 0) {
      reject_vm(search, v, RejectReason::kCoolingDown);
    } else {
      const HostLoad after = book_.without(h, v);
      const bool suffices = is_relieved(after);
      const MoveCost& cost = vm(v).cost;
      double price = vm(v).demand;
      if (!cost.is_free())
        price = cost.seconds * options_.value.copy_ratio * host(h).capacity +
                cost.downtime_s * vm(v).demand * vm(v).interruption;
      const double taken = cost.is_free() ? vm(v).demand : vm(v).demand / std::max(price, 1e-9);
      ranked.emplace_back(!suffices, suffices ? price * vm(v).priority : -taken, i);
    }
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<int> candidates;
  for (const auto& [insufficient, price, i] : ranked) candidates.push_back(vms[i]);
  return candidates;
}

// Returns whether a VM was moved; else why not is in the plan.
bool PlannerRound::relieve_one(int h) {
  Search search;
  const std::vector<int> candidates = candidates_of(h, search);
  auto why = candidates.empty() ? Unrelieved::Why::kCoolingDown : Unrelieved::Why::kNoHost;
  for (size_t i = 0; i < std::min<size_t>(candidates.size(), options_.vms_tried_max); ++i) {
    const int v = candidates[i];
    const std::vector<int> unit = rules_.unit_of(v);
    if (!std::all_of(unit.begin(), unit.end(), [&](int member) { return may_move(member); })) {
      reject_vm(search, v, RejectReason::kRule);
      continue;
    }
    if (!has_moves_left(unit.size())) {
      reject_vm(search, v, RejectReason::kMoveLimit);
      why = Unrelieved::Why::kMoveLimit;
      continue;
    }
    search.alternatives = {};
    const int to = unit.size() == 1 ? find_host(v, search) : find_host_of(unit, search);
    if (to < 0) {
      reject_vm(search, v, RejectReason::kNoHost);
      continue;
    }
    const MoveValue value = value_of_move(v, to);
    const bool is_worth = value.avoided >= options_.value.margin * value.cost;
    if (!vm(v).cost.is_free() && (!is_worth || value.payback_s > options_.value.payback_s_max)) {
      reject(search, {.vm = v,
                      .host = to,
                      .reason = is_worth ? RejectReason::kPayback : RejectReason::kNotWorth,
                      .after = book_.with(to, v),
                      .value = value});
      why = Unrelieved::Why::kNotWorth;
      continue;
    }
    move_unit(unit, to, MoveReason::kRelief, search);
    return true;
  }
  give_up(h, why, std::move(search));
  return false;
}

void PlannerRound::relieve(int h) {
  if (!is_over(book_.load(h))) return;
  do {
    if (!relieve_one(h)) return;
  } while (!is_relieved(book_.load(h)));
}

void PlannerRound::relieve_all() {
  std::vector<std::pair<double, int>> over;
  for (int h = 0; h < host_count(); ++h)
    if (is_over(book_.load(h)))
      over.emplace_back(-std::max(book_.load(h).now, book_.load(h).ahead), h);
  std::sort(over.begin(), over.end());
  for (const auto& [load, h] : over) relieve(h);
}

// Those of the least expected load, as many as the rest can do without. They take no VMs, so that
// none moves twice.
std::vector<int> PlannerRound::hosts_to_free() {
  std::vector<std::tuple<double, int>> order;
  double capacity = 0, wanted = 0;
  for (int h = 0; h < host_count(); ++h) {
    const auto vms = book_.vms(h);
    if (vms.empty() || !host(h).takes_vms) continue;
    capacity += host(h).capacity;
    wanted += book_.load(h).mean * host(h).capacity;
    if (took_vms_[static_cast<size_t>(h)] ||
        !std::all_of(vms.begin(), vms.end(), [&](int v) { return may_move(v); }))
      continue;
    const double watts = host(h).power ? host(h).power->max() : 1;
    order.emplace_back(book_.load(h).mean * host(h).capacity / watts, h);
  }
  std::sort(order.begin(), order.end());
  std::vector<int> freed;
  for (const auto& [load, h] : order) {
    if ((capacity - host(h).capacity) * options_.fill < wanted) break;
    capacity -= host(h).capacity;
    book_.close(h);
    freed.push_back(h);
  }
  return freed;
}

// What is freed is the host's capacity, from the last of its moves on.
bool PlannerRound::saves_enough(int h, size_t from) const {
  double cost = 0, seconds = 0;
  for (size_t i = from; i < plan_.moves.size(); ++i) {
    cost += plan_.moves[i].value.cost;
    seconds += vm(plan_.moves[i].vm).cost.seconds;
  }
  const double saved = host(h).capacity * std::max(0.0, options_.value.horizon_s - seconds);
  return cost == 0 || saved > options_.value.margin * cost;
}

// All or nothing: a host that keeps one VM saves nothing.
bool PlannerRound::free_host(int h) {
  std::vector<std::pair<double, int>> vms;
  for (const int v : book_.vms(h)) vms.emplace_back(-vm(v).demand, v);
  std::sort(vms.begin(), vms.end());
  const size_t before = plan_.moves.size();
  if (!has_moves_left(vms.size())) return false;
  for (const auto& [demand, v] : vms) {
    if (book_.host_of(v) != h) continue;  // it went with another
    const std::vector<int> unit = rules_.unit_of(v);
    Search search;
    const int to = unit.size() == 1 ? find_open_host(v, search) : find_host_of(unit, search);
    if (to < 0) {
      undo_to(before);
      return false;
    }
    move_unit(unit, to, MoveReason::kConsolidate, search);
  }
  if (saves_enough(h, before)) return true;
  undo_to(before);
  return false;
}

void PlannerRound::free_all() {
  for (const int h : hosts_to_free()) free_host(h);
}

Plan Planner::plan(const FleetState& fleet) const {
  PlannerRound round(fleet, options_);
  round.place_all();
  round.drain_all();
  round.mend_all();
  round.relieve_all();
  if (options_.frees_hosts) round.free_all();
  return round.take();
}

}  // namespace forerun::place
