// One plan while it is made: for the planner's own files.
#pragma once

#include <span>
#include <vector>

#include "place/fleet.h"
#include "place/load_book.h"
#include "place/planner.h"
#include "place/rule_book.h"

namespace forerun::place {

class PlannerRound {
 public:
  PlannerRound(const FleetState& state, const PlannerOptions& chosen);

  // In this order: what must be, what is wanted, what saves.
  void place_all();
  void drain_all();
  void mend_all();
  void relieve_all();
  void free_all();
  Plan take() { return std::move(plan_); }

 private:
  const FleetVm& vm(int v) const { return fleet_.vms[static_cast<size_t>(v)]; }
  const FleetHost& host(int h) const { return fleet_.hosts[static_cast<size_t>(h)]; }
  int host_count() const { return static_cast<int>(fleet_.hosts.size()); }
  bool is_over(const HostLoad& load) const;
  bool is_relieved(const HostLoad& load) const;
  uint32_t ticks_to_cool(int v) const;
  bool is_moved(int v) const { return is_moved_[static_cast<size_t>(v)] != 0; }
  bool may_move(int v) const { return vm(v).may_move && !is_moved(v) && ticks_to_cool(v) == 0; }
  bool has_moves_left(size_t count) const { return moves_made_ + count <= fleet_.moves_left; }

  // What became of alternatives: counted, and told if that is asked for.
  struct Search {
    Alternatives alternatives;
    std::vector<Rejected> rejected;
  };
  void reject(Search& search, const Rejected& rejected) const;
  void reject_vm(Search& search, int v, RejectReason reason) const;
  // Return whether the host has room: for the VM itself, by the rules.
  bool has_room(int h, int v, std::span<const int> with, Search& search) const;
  // Returns what a host is chosen by, the least first.
  double rank(int h, int v, const HostLoad& after) const;
  int find_open_host(int v, Search& search) const;
  int find_idle_host(int v, Search& search) const;
  int find_host(int v, Search& search) const;
  // Of VMs that move together.
  int find_host_of(std::span<const int> unit, Search& search);
  bool fits_unit(int h, std::span<const int> unit, Search& search, double* ranked);

  void put(int v, int to);  // in the books only
  MoveValue value_of_move(int v, int to) const;
  void move(int v, int to, MoveReason reason, Search search, int rule = -1);
  void move_unit(std::span<const int> unit, int to, MoveReason reason, const Search& search,
                 int rule = -1);
  void undo_to(size_t count);
  void give_up(int h, Unrelieved::Why why, Search search, int v = -1, int rule = -1);

  // Moves what cannot stay, with all that must be where it is.
  bool evict(int v, MoveReason reason, int rule);
  bool mend(int rule);
  bool mend_together(int rule);
  bool gather(int rule, const std::vector<int>& hosts, size_t before);
  std::vector<int> candidates_of(int h, Search& search) const;
  bool relieve_one(int h);
  void relieve(int h);
  std::vector<int> hosts_to_free();
  bool free_host(int h);
  bool saves_enough(int h, size_t from) const;

  const FleetState& fleet_;
  const PlannerOptions& options_;
  LoadBook book_;
  RuleBook rules_;
  std::vector<uint8_t> is_moved_, took_vms_;
  size_t moves_made_ = 0;
  Plan plan_;
};

}  // namespace forerun::place
