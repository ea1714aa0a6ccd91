// Which rules of placement hold while a plan is made.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "place/fleet.h"

namespace forerun::place {

// One thread. Told of every move.
class RuleBook {
 public:
  // `fleet` must outlive this.
  explicit RuleBook(const FleetState& fleet);

  bool has_rules() const { return !fleet_.rules.empty(); }
  // Returns the first rule that would be broken, or broken further, if the VM were on the host
  // (and `with` too, which move with it); -1: none.
  int broken_by(int vm, int host, std::span<const int> with = {}) const;
  bool holds(int rule) const;
  void moved(int vm, int from, int to);
  // Returns the VM and those that must be where it is and are.
  std::vector<int> unit_of(int vm) const;
  // Returns on how many of its hosts or zones a rule's VMs are.
  uint32_t spread(int rule) const { return placed_[index(rule)].distinct; }
  uint32_t count(int rule, int host) const {
    return placed_[index(rule)].counts[index(place_of(rule, host))];
  }
  bool lists_host(int rule, int host) const {
    return placed_[index(rule)].listed[index(host)] != 0;
  }

 private:
  struct Placed {
    std::vector<uint32_t> counts;  // by host or zone
    uint32_t distinct = 0;
    uint32_t over = 0;            // VMs where they may not be
    std::vector<uint8_t> listed;  // by host: kOnly, kNever
  };
  static size_t index(int id) { return static_cast<size_t>(id); }
  const PlacementRule& rule(int id) const { return fleet_.rules[index(id)]; }
  int place_of(int rule_id, int host) const {
    return rule(rule_id).is_by_zone ? static_cast<int>(fleet_.hosts[index(host)].zone) : host;
  }
  bool is_wrong(int rule_id, int host) const;
  bool breaks(int rule_id, int vm, int host, std::span<const int> with) const;
  void count(int vm, int host, int sign);

  const FleetState& fleet_;
  std::vector<int> where_;
  std::vector<std::vector<int>> rules_of_;  // by VM; empty if there are no rules
  std::vector<Placed> placed_;
};

}  // namespace forerun::place
