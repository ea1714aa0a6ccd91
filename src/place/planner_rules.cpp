// Rules that do not hold: mended with few moves, or said.
#include <algorithm>

#include "place/planner_round.h"

namespace forerun::place {

using Kind = PlacementRule::Kind;

// Brings all VMs of a rule that are elsewhere to `hosts`, or none.
bool PlannerRound::gather(int rule, const std::vector<int>& hosts, size_t before) {
  const auto is_in = [&](int h) { return std::find(hosts.begin(), hosts.end(), h) != hosts.end(); };
  for (const int v : fleet_.rules[static_cast<size_t>(rule)].vms) {
    const int from = book_.host_of(v);
    if (from < 0 || is_in(from)) continue;
    const std::vector<int> unit = rules_.unit_of(v);
    int to = -1;
    double least = 0;
    Search search;
    const bool may = std::all_of(unit.begin(), unit.end(), [&](int member) {
      return vm(member).may_move && !is_moved(member);
    });
    for (const int h : hosts) {
      double ranked = 0;
      ++search.alternatives.considered;
      if (!may || !host(h).takes_vms || !fits_unit(h, unit, search, &ranked)) continue;
      if (to >= 0 && ranked >= least) continue;
      to = h;
      least = ranked;
    }
    if (to < 0 || !has_moves_left(unit.size())) {
      undo_to(before);
      return false;
    }
    move_unit(unit, to, MoveReason::kRule, search, rule);
  }
  return true;
}

// To the host that has most of them, or else to another that has room for all.
bool PlannerRound::mend_together(int rule) {
  const PlacementRule& asked = fleet_.rules[static_cast<size_t>(rule)];
  const size_t before = plan_.moves.size();
  std::vector<std::pair<double, std::vector<int>>> places;  // the fewest moves first
  const int count = asked.is_by_zone ? static_cast<int>(fleet_.zones) : host_count();
  for (int place = 0; place < count; ++place) {
    std::vector<int> hosts;
    for (int h = 0; h < host_count(); ++h)
      if (host(h).takes_vms &&
          (asked.is_by_zone ? static_cast<int>(host(h).zone) == place : h == place))
        hosts.push_back(h);
    if (hosts.empty()) continue;
    const double here = rules_.count(rule, hosts.front());
    places.emplace_back(-here + book_.risk(book_.load(hosts.front())) / 1000, std::move(hosts));
  }
  std::sort(places.begin(), places.end());
  return std::any_of(places.begin(), places.end(),
                     [&](const auto& place) { return gather(rule, place.second, before); });
}

bool PlannerRound::mend(int rule) {
  const PlacementRule& asked = fleet_.rules[static_cast<size_t>(rule)];
  if (asked.kind == Kind::kTogether) return mend_together(rule);
  if (asked.kind == Kind::kHostsMax) {
    std::vector<std::pair<int64_t, int>> order;
    for (int h = 0; h < host_count(); ++h)
      if (host(h).takes_vms) order.emplace_back(-int64_t{rules_.count(rule, h)}, h);
    std::sort(order.begin(), order.end());
    std::vector<int> hosts;
    for (const auto& [count, h] : order)
      if (hosts.size() < asked.at_most) hosts.push_back(h);
    return gather(rule, hosts, plan_.moves.size());
  }
  // Those that ask for least go.
  std::vector<std::pair<double, int>> vms;
  for (const int v : asked.vms)
    if (book_.host_of(v) >= 0) vms.emplace_back(vm(v).demand, v);
  std::sort(vms.begin(), vms.end());
  for (const auto& [demand, v] : vms) {
    const int h = book_.host_of(v);
    const bool is_wrong = asked.kind == Kind::kApart
                              ? rules_.count(rule, h) > asked.at_most
                              : rules_.lists_host(rule, h) != (asked.kind == Kind::kOnly);
    if (is_wrong && !evict(v, MoveReason::kRule, rule)) return true;  // it is said there
  }
  return true;
}

void PlannerRound::mend_all() {
  for (int rule = 0; rule < static_cast<int>(fleet_.rules.size()); ++rule) {
    if (rules_.holds(rule) || mend(rule)) continue;
    give_up(-1, Unrelieved::Why::kNoHost, {}, -1, rule);
  }
}

}  // namespace forerun::place
