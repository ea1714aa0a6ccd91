#include "place/planner_round.h"

#include <algorithm>

namespace forerun::place {

PlannerRound::PlannerRound(const FleetState& state, const PlannerOptions& chosen)
    : fleet_(state),
      options_(chosen),
      book_(state, chosen.load),
      rules_(state),
      is_moved_(state.vms.size()),
      took_vms_(state.hosts.size()) {
  if (options_.frees_hosts) return;
  for (int h = 0; h < host_count(); ++h)
    if (host(h).takes_vms) book_.open(h);
}

bool PlannerRound::is_over(const HostLoad& load) const {
  if (load.is_foreseen) return over_probability(load) >= options_.over_probability;
  return load.now > options_.over_now && (!book_.has_past() || load.mean > options_.over_mean);
}

bool PlannerRound::is_relieved(const HostLoad& load) const {
  if (load.is_foreseen) return over_probability(load) < options_.relieved_probability;
  return !is_over(load);
}

uint32_t PlannerRound::ticks_to_cool(int v) const {
  const uint32_t doublings = std::min(vm(v).moves_lately > 0 ? vm(v).moves_lately - 1 : 0,
                                      options_.cool_down_doublings_max);
  const uint64_t wanted = uint64_t{options_.cool_down_ticks} << doublings;
  return vm(v).ticks_since_move >= wanted ? 0
                                          : static_cast<uint32_t>(wanted - vm(v).ticks_since_move);
}

void PlannerRound::reject(Search& search, const Rejected& rejected) const {
  if (options_.explains && search.rejected.size() < options_.explained_max)
    search.rejected.push_back(rejected);
}

void PlannerRound::reject_vm(Search& search, int v, RejectReason reason) const {
  if (!options_.explains) return;
  Rejected rejected{.vm = v, .reason = reason};
  if (book_.host_of(v) >= 0) rejected.after = book_.without(book_.host_of(v), v);
  if (reason == RejectReason::kCoolingDown) rejected.ticks_left = ticks_to_cool(v);
  reject(search, rejected);
}

bool PlannerRound::has_room(int h, int v, std::span<const int> with, Search& search) const {
  const FleetHost& to = host(h);
  Rejected rejected{.vm = v, .host = h};
  if (rejected.rule = rules_.broken_by(v, h, with); rejected.rule >= 0) {
    ++search.alternatives.over_rule;
    rejected.reason = RejectReason::kRule;
    reject(search, rejected);
    return false;
  }
  if (to.memory_mb > 0 && book_.memory_mb(h) + vm(v).memory_mb > to.memory_mb) {
    ++search.alternatives.over_memory;
    rejected.reason = RejectReason::kMemory;
    rejected.memory_mb = book_.memory_mb(h) + vm(v).memory_mb;
    reject(search, rejected);
    return false;
  }
  if (to.core_capacity > 0 && vm(v).demand > to.core_capacity) {
    ++search.alternatives.over_load;
    rejected.reason = RejectReason::kCore;
    reject(search, rejected);
    return false;
  }
  return true;
}

double PlannerRound::rank(int h, int v, const HostLoad& after) const {
  double rank = book_.risk(after);
  const auto at = [](int id) { return static_cast<size_t>(id); };
  if (vm(v).category >= 0 && !fleet_.affinities.empty())
    rank -= options_.affinity_weight *
            static_cast<double>(fleet_.affinities[at(h) * fleet_.categories + at(vm(v).category)]);
  if (!fleet_.zone_prices.empty())
    rank += options_.price_weight * (fleet_.zone_prices[host(h).zone] - 1);
  if (!fleet_.zone_links.empty() && book_.host_of(v) >= 0)
    rank += options_.latency_weight_per_ms *
            fleet_.zone_links[host(book_.host_of(v)).zone * fleet_.zones + host(h).zone].latency_ms;
  return rank;
}

// Where the risk is least afterwards: for a given number of hosts, even risk is least overload.
int PlannerRound::find_open_host(int v, Search& search) const {
  double least = 0, second_least = 0;
  HostLoad found_after;
  int found = -1;
  uint32_t tried = 0;
  const auto worse = [&](int h, const HostLoad& after) {
    reject(search, {.vm = v,
                    .host = h,
                    .reason = RejectReason::kWorse,
                    .after = after,
                    .memory_mb = book_.memory_mb(h) + vm(v).memory_mb});
  };
  for (const auto& [risk, h] : book_.open_hosts()) {
    if (tried == options_.hosts_tried_max) break;
    if (h == book_.host_of(v)) continue;
    ++search.alternatives.considered;
    const uint32_t against_rules = search.alternatives.over_rule;
    const bool has = has_room(h, v, {}, search);
    if (search.alternatives.over_rule == against_rules) ++tried;
    if (!has) continue;
    const HostLoad after = book_.with(h, v);
    if (!book_.fits(after)) {
      ++search.alternatives.over_load;
      reject(search, {.vm = v, .host = h, .reason = RejectReason::kLoad, .after = after});
      continue;
    }
    const double ranked = rank(h, v, after);
    if (found >= 0 && ranked >= least) {
      worse(h, after);
      if (search.alternatives.second < 0 || ranked < second_least) {
        search.alternatives.second = h;
        second_least = ranked;
      }
      continue;
    }
    if (found >= 0) worse(found, found_after);
    search.alternatives.second = found;
    second_least = least;
    least = ranked;
    found = h;
    found_after = after;
  }
  return found;
}

// The idle host that gives most for its power.
int PlannerRound::find_idle_host(int v, Search& search) const {
  double least = 0;
  int found = -1;
  for (int h = 0; h < host_count(); ++h) {
    if (!book_.vms(h).empty() || !host(h).takes_vms || h == book_.host_of(v)) continue;
    if (!options_.frees_hosts) continue;  // all hosts are open, and were looked at
    const double watts = host(h).power ? host(h).power->max() : 1;
    if (found >= 0 && watts / host(h).capacity >= least) continue;
    ++search.alternatives.considered;
    if (!has_room(h, v, {}, search)) continue;
    least = watts / host(h).capacity;
    found = h;
  }
  return found;
}

int PlannerRound::find_host(int v, Search& search) const {
  const int found = find_open_host(v, search);
  return found >= 0 ? found : find_idle_host(v, search);
}

bool PlannerRound::fits_unit(int h, std::span<const int> unit, Search& search, double* ranked) {
  double memory_mb = book_.memory_mb(h);
  for (const int v : unit) memory_mb += vm(v).memory_mb;
  if (host(h).memory_mb > 0 && memory_mb > host(h).memory_mb) {
    ++search.alternatives.over_memory;
    reject(
        search,
        {.vm = unit.front(), .host = h, .reason = RejectReason::kMemory, .memory_mb = memory_mb});
    return false;
  }
  for (const int v : unit)
    if (!has_room(h, v, unit, search)) return false;
  const int from = book_.host_of(unit.front());
  for (const int v : unit) put(v, h);
  const HostLoad after = book_.load(h);
  *ranked = rank(h, unit.front(), after);
  for (auto v = unit.rbegin(); v != unit.rend(); ++v) put(*v, from);
  if (book_.fits(after)) return true;
  ++search.alternatives.over_load;
  reject(search, {.vm = unit.front(), .host = h, .reason = RejectReason::kLoad, .after = after});
  return false;
}

int PlannerRound::find_host_of(std::span<const int> unit, Search& search) {
  const int from = book_.host_of(unit.front());
  int found = -1;
  double least = 0;
  for (int h = 0; h < host_count(); ++h) {
    if (h == from || !host(h).takes_vms) continue;
    ++search.alternatives.considered;
    double ranked = 0;
    if (!fits_unit(h, unit, search, &ranked)) continue;
    if (book_.vms(h).empty() && options_.frees_hosts) ranked += 1;  // woken last
    if (found >= 0 && ranked >= least) continue;
    search.alternatives.second = found;
    found = h;
    least = ranked;
  }
  return found;
}

void PlannerRound::put(int v, int to) {
  rules_.moved(v, book_.host_of(v), to);
  book_.move(v, to);
}

MoveValue PlannerRound::value_of_move(int v, int to) const {
  const int from = book_.host_of(v);
  if (from < 0) return {.confidence = 1 - over_probability(book_.with(to, v))};
  const ZoneLink link = fleet_.zone_links.empty()
                            ? ZoneLink{}
                            : fleet_.zone_links[host(from).zone * fleet_.zones + host(to).zone];
  return value_of({.from_before = book_.load(from),
                   .from_after = book_.without(from, v),
                   .to_before = book_.load(to),
                   .to_after = book_.with(to, v),
                   .from_capacity = host(from).capacity,
                   .to_capacity = host(to).capacity},
                  vm(v), link.cost_per_gib, options_.value);
}

void PlannerRound::move(int v, int to, MoveReason reason, Search search, int rule) {
  PlannedMove move;
  move.vm = v;
  move.from = book_.host_of(v);
  move.to = to;
  move.reason = reason;
  move.rule = rule;
  move.wakes_host = book_.vms(to).empty();
  if (move.from >= 0) move.from_before = book_.load(move.from);
  move.to_before = book_.load(to);
  move.alternatives = search.alternatives;
  move.rejected = std::move(search.rejected);
  if (options_.explains || !vm(v).cost.is_free()) move.value = value_of_move(v, to);
  // What must be is not asked for what it avoids.
  if (reason != MoveReason::kRelief)
    move.value.confidence = 1 - over_probability(book_.with(to, v));
  put(v, to);
  if (move.wakes_host) book_.open(to);
  if (move.from >= 0) move.from_after = book_.load(move.from);
  move.to_after = book_.load(to);
  is_moved_[static_cast<size_t>(v)] = true;
  if (reason != MoveReason::kConsolidate) took_vms_[static_cast<size_t>(to)] = true;
  if (move.from >= 0) ++moves_made_;
  plan_.moves.push_back(std::move(move));
}

void PlannerRound::move_unit(std::span<const int> unit, int to, MoveReason reason,
                             const Search& search, int rule) {
  for (const int v : unit)
    if (book_.host_of(v) != to) move(v, to, reason, v == unit.front() ? search : Search{}, rule);
}

void PlannerRound::undo_to(size_t count) {
  while (plan_.moves.size() > count) {
    const PlannedMove& last = plan_.moves.back();
    put(last.vm, last.from);
    is_moved_[static_cast<size_t>(last.vm)] = false;
    --moves_made_;
    plan_.moves.pop_back();
  }
}

void PlannerRound::give_up(int h, Unrelieved::Why why, Search search, int v, int rule) {
  Unrelieved unrelieved;
  unrelieved.host = h;
  unrelieved.why = why;
  if (h >= 0) unrelieved.load = book_.load(h);
  unrelieved.alternatives = search.alternatives;
  unrelieved.vm = v;
  unrelieved.rule = rule;
  unrelieved.rejected = std::move(search.rejected);
  plan_.unrelieved.push_back(std::move(unrelieved));
}

}  // namespace forerun::place
