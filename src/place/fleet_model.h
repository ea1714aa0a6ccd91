// A fleet as it was written down, made ready for the planner: numbers for names, forecasts of every
// VM's demand.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "place/fleet_snapshot.h"
#include "place/planner.h"

namespace forerun::place {

// Immutable. Numbers of hosts and VMs are their places in the snapshot.
class FleetModel {
 public:
  // ERRORS: kInvalid: a rule that names no VM's or host's zone rightly, a zone that is unknown.
  static Result<std::unique_ptr<FleetModel>> make(FleetSnapshot snapshot);

  const FleetSnapshot& snapshot() const { return snapshot_; }
  const FleetState& state() const { return state_; }
  const std::string& host_name(int host) const;  // -1: ""
  const std::string& vm_name(int vm) const;
  // Returns how the planner is to plan it.
  PlannerOptions options(bool explains) const;
  // Returns what forecast a VM's demand: "holt".
  const std::string& method(int vm) const { return methods_[static_cast<size_t>(vm)]; }

 private:
  explicit FleetModel(FleetSnapshot snapshot) : snapshot_(std::move(snapshot)) {}
  Status add_zones();
  Status add_rules();
  double capacity_share(const std::vector<forecast::KnownEvent>& events) const;
  void add_hosts();
  void add_vms();
  void add_affinities();
  void foresee(const SnapshotVm& from, FleetVm& vm, std::string& method) const;
  uint32_t zone_of(const std::string& name) const;

  FleetSnapshot snapshot_;
  FleetState state_;
  std::vector<std::string> zones_, methods_, categories_;
  std::vector<std::unique_ptr<PowerCurve>> curves_;
};

// Returns the plan as JSON: hosts, moves with what was rejected, what stays wrong, in numbers and
// sentences. docs/plan.md. `supposed`: the questions that were laid over the fleet.
std::string plan_json(const FleetModel& fleet, const Plan& plan,
                      const std::vector<std::string>& supposed, const std::string& as_of,
                      const std::vector<std::string>& notes = {});
// Returns why a move is made, in a sentence.
std::string move_sentence(const FleetModel& fleet, const PlannedMove& move);

}  // namespace forerun::place
