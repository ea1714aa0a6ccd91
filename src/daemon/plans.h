// Plans of where VMs run: made of what this host and its peers tell of their use, shown, carried
// out, and scored. docs/plan.md. In a cluster only its leader carries plans out, and policy, moves
// and placements are the cluster's; without one, the first by name of the hosts whose policy is
// auto, and each host has its own.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "api/plan_service.h"
#include "core/time.h"
#include "daemon/migration_messages.h"
#include "daemon/move_costs.h"
#include "daemon/operations.h"
#include "daemon/plan_cluster.h"
#include "place/affinity.h"
#include "place/move_ledger.h"
#include "store/history_store.h"

namespace forerun::daemon {

// Thread-safe.
class Plans final : public api::PlanService {
 public:
  struct Parts {
    std::string state_dir;
    std::function<int64_t()> unix_seconds;
    store::HistoryStore& history;
    std::function<std::vector<api::VmInfo>()> list_vms;
    std::function<std::vector<std::string>()> peers;  // names of the other hosts, now
    // Asks another host, which answers with a message of the kind; blocks at most so long.
    std::function<Result<PeerMessage>(const std::string& host, const PeerMessage& question,
                                      PeerMessageKind answer, Nanos timeout)>
        ask;
    // Moves a VM of this host; an operation's work.
    std::function<Result<std::string>(const std::string& vm, const api::MigrateRequest& request,
                                      Operations::Progress& progress)>
        migrate;
    MoveCosts& costs;
    // Measures the link to another host; blocks for seconds at most.
    std::function<Result<LinkFigures>(const std::string& host)> measure;
    // A VM of this host is likely to move to that one.
    std::function<void(const std::string& vm, const std::string& host)> foresee;
    // Starts an operation "plan_apply".
    std::function<Result<api::OperationInfo>(Operations::Work)> start;
    PlanCluster* cluster;  // null: there is none
    std::string host;      // as others call this one; empty: they say
    std::string zone;      // of this host
    std::map<std::string, std::string> labels;
  };

  // ERRORS: kCorrupt, kIo: what is kept of earlier moves.
  static Result<std::unique_ptr<Plans>> open(Parts parts);
  ~Plans() { stop(); }
  // Carries plans out every tick, if that is the policy, and scores what is due.
  void start();
  // Has it look now, and not at the next tick.
  void look();
  void ask_to_stop();
  bool is_stopping();
  void stop();

  Result<std::string> plan(const api::PlanRequest& request) override;
  Result<std::string> plan_fleet() override;
  Result<api::OperationInfo> apply_plan() override;
  std::string plan_moves(const std::string& vm) override;
  api::PlanPolicyInfo plan_policy() override;
  Status set_plan_policy(const api::PlanPolicyRequest& request) override;

  // Answers another host: kFleet, or an order to move a VM of ours.
  PeerMessage answer(const std::string& host, const PeerMessage& question);

 private:
  explicit Plans(Parts parts) : parts_(std::move(parts)) {}
  struct Fleet {
    place::FleetSnapshot snapshot;
    std::vector<std::string> notes;       // hosts that do not answer, …
    std::vector<std::string> auto_hosts;  // whose policy is auto, sorted
  };
  Result<Fleet> fleet();
  place::FleetSnapshot rules();
  Result<place::FleetSnapshot> own(const place::FleetSnapshot& rules, const std::string& name);
  Status take_rules(std::string text);
  std::string own_name();
  void learn_name(const std::string& name);
  std::optional<PlanLead> lead() const {
    return parts_.cluster ? std::optional(parts_.cluster->lead()) : std::nullopt;
  }
  // Whether moves are this host's to keep account of.
  bool keeps_account() const { return !parts_.cluster || parts_.cluster->lead().is_leader; }
  // Returns who plans without being asked, if anybody does.
  std::string planner_of(const Fleet& fleet);

  // In a cluster (plans_in_cluster.cpp): takes over what it keeps: the policy; moves and placements
  // when this host begins to lead, moves always while it does not.
  Status refresh();
  Status take_policy(const PlanCluster::Policy& policy);
  Status take_moves(bool leads, uint64_t token);
  // Keeps the moves, if they changed, and these placements, for whoever leads next.
  Status share(const PlanCluster::Changes& changes);
  // Keeps where VMs were seen.
  Status share_placements(const place::FleetSnapshot& seen);
  // Keeps what was learned of workloads and hosts, now and then.
  Status share_affinity();
  std::string vms_last_seen_on(const std::string& host);

  // Makes the moves of the plan, one after the other. Returns what came of it, for people.
  Result<std::string> apply(Operations::Progress& progress);
  Result<std::string> carry_out(const Fleet& fleet, Operations::Progress& progress);
  // Returns whether the move was made.
  bool make(const place::FleetModel& model, const place::PlannedMove& move,
            Operations::Progress& progress);
  void try_to_move(place::MoveRecord& record, Operations::Progress& progress);
  Result<std::string> order(const place::MoveRecord& record, Operations::Progress& progress);
  // Tells the hosts of what the plan will move, from its `first` move on.
  void foresee(const place::FleetModel& model, const place::Plan& plan, size_t first);
  void settle(const place::FleetSnapshot& snapshot);
  Status save(const std::string& name, const std::string& text) const;
  void save_ledger();
  Status keep_policy(const api::PlanPolicyRequest& request);
  void run();
  // Measures links that are due, a few.
  void measure_links();
  void round();
  void tell(std::string detail);

  const Parts parts_;
  std::mutex apply_mutex_;  // held while moves are made
  std::mutex mutex_;        // guards all below
  place::MoveLedger ledger_;
  place::AffinityWatch affinity_;
  bool is_auto_ = false;
  std::string rules_text_ = "{}";
  place::FleetSnapshot rules_;  // what it says
  uint64_t making_ = 0;         // the move that is being made now; 0: none
  std::string name_, planner_, detail_;
  // Of the cluster: the revision of the policy that is known, the token under which moves and
  // placements were taken over (0: they are others'), and whether moves are still to be shared.
  cluster::Revision policy_revision_ = 0;
  uint64_t taken_token_ = 0;
  bool must_share_ = false;
  bool has_learned_ = false;  // of affinities, since they were shared
  int64_t affinity_shared_at_ = 0;
  std::map<std::string, PlanPlacement> placements_;
  bool must_look_ = false;
  bool is_stopping_ = false;
  std::condition_variable stop_changed_;
  std::jthread thread_;
};

}  // namespace forerun::daemon
