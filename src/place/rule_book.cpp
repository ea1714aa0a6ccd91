#include "place/rule_book.h"

#include <algorithm>

namespace forerun::place {

using Kind = PlacementRule::Kind;

std::string_view rule_kind_name(Kind kind) {
  switch (kind) {
    case Kind::kTogether:
      return "together";
    case Kind::kApart:
      return "apart";
    case Kind::kOnly:
      return "only";
    case Kind::kNever:
      return "never";
    case Kind::kHostsMax:
      return "hosts_max";
  }
  return "";
}

RuleBook::RuleBook(const FleetState& fleet) : fleet_(fleet) {
  if (fleet.rules.empty()) return;
  where_.assign(fleet.vms.size(), -1);
  rules_of_.resize(fleet.vms.size());
  placed_.resize(fleet.rules.size());
  for (size_t r = 0; r < fleet.rules.size(); ++r) {
    const PlacementRule& rule = fleet.rules[r];
    placed_[r].counts.assign(std::max<size_t>(fleet.hosts.size(), fleet.zones), 0);
    placed_[r].listed.assign(fleet.hosts.size(), 0);
    for (const int h : rule.hosts) placed_[r].listed[index(h)] = 1;
    for (const int v : rule.vms) rules_of_[index(v)].push_back(static_cast<int>(r));
  }
  for (size_t v = 0; v < fleet.vms.size(); ++v)
    if (fleet.vms[v].host >= 0) moved(static_cast<int>(v), -1, fleet.vms[v].host);
}

bool RuleBook::is_wrong(int rule_id, int host) const {
  const Kind kind = rule(rule_id).kind;
  if (kind == Kind::kOnly) return !lists_host(rule_id, host);
  return kind == Kind::kNever && lists_host(rule_id, host);
}

void RuleBook::count(int vm, int host, int sign) {
  for (const int r : rules_of_[index(vm)]) {
    Placed& placed = placed_[index(r)];
    uint32_t& there = placed.counts[index(place_of(r, host))];
    if (sign > 0 && there++ == 0) ++placed.distinct;
    if (sign < 0 && --there == 0) --placed.distinct;
    if (is_wrong(r, host)) placed.over += static_cast<uint32_t>(sign);
  }
}

void RuleBook::moved(int vm, int from, int to) {
  if (!has_rules()) return;
  if (from >= 0) count(vm, from, -1);
  if (to >= 0) count(vm, to, 1);
  where_[index(vm)] = to;
}

bool RuleBook::holds(int rule_id) const {
  const Placed& placed = placed_[index(rule_id)];
  const PlacementRule& asked = rule(rule_id);
  switch (asked.kind) {
    case Kind::kTogether:
      return placed.distinct <= 1;
    case Kind::kApart:
      return std::all_of(placed.counts.begin(), placed.counts.end(),
                         [&](uint32_t here) { return here <= asked.at_most; });
    case Kind::kOnly:
    case Kind::kNever:
      return placed.over == 0;
    case Kind::kHostsMax:
      return placed.distinct <= asked.at_most;
  }
  return true;
}

// What is wrong already may stay as wrong, or get better: else nothing could be mended.
bool RuleBook::breaks(int rule_id, int vm, int host, std::span<const int> with) const {
  const Placed& placed = placed_[index(rule_id)];
  const PlacementRule& asked = rule(rule_id);
  if (asked.kind == Kind::kOnly || asked.kind == Kind::kNever) return is_wrong(rule_id, host);
  const int to = place_of(rule_id, host);
  uint32_t coming = 0, emptied = 0;
  const auto leave = [&](int leaving) {
    const auto& rules = rules_of_[index(leaving)];
    if (std::find(rules.begin(), rules.end(), rule_id) == rules.end()) return;
    const int from = where_[index(leaving)];
    if (from >= 0 && place_of(rule_id, from) == to) return;  // it is there, and counted
    ++coming;
    if (from >= 0 && leaving == vm) emptied = placed.counts[index(place_of(rule_id, from))];
  };
  leave(vm);
  for (const int other : with)
    if (other != vm) leave(other);
  const uint32_t there = placed.counts[index(to)];
  if (asked.kind == Kind::kApart) return there + coming > asked.at_most && coming > 0;
  if (coming == 0) return false;
  // All that move leave one place.
  const uint32_t after =
      placed.distinct + (there == 0 ? 1 : 0) - (emptied > 0 && emptied == coming ? 1 : 0);
  const uint32_t allowed = asked.kind == Kind::kTogether ? 1 : asked.at_most;
  return after > std::max(allowed, placed.distinct);
}

int RuleBook::broken_by(int vm, int host, std::span<const int> with) const {
  if (!has_rules()) return -1;
  for (const int r : rules_of_[index(vm)])
    if (breaks(r, vm, host, with)) return r;
  return -1;
}

std::vector<int> RuleBook::unit_of(int vm) const {
  std::vector<int> unit{vm};
  if (!has_rules()) return unit;
  for (size_t i = 0; i < unit.size(); ++i) {
    for (const int r : rules_of_[index(unit[i])]) {
      if (rule(r).kind != Kind::kTogether || rule(r).is_by_zone) continue;
      for (const int other : rule(r).vms)
        if (where_[index(other)] == where_[index(vm)] &&
            std::find(unit.begin(), unit.end(), other) == unit.end())
          unit.push_back(other);
    }
  }
  return unit;
}

}  // namespace forerun::place
