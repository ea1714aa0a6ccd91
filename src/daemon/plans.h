// Plans of where VMs run: made of what this host and its peers tell of their use, shown, carried
// out, and scored. docs/plan.md. Where a cluster has a leader, only that one plans; without one,
// the first by name of the hosts whose policy is auto.
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
#include "daemon/operations.h"
#include "place/affinity.h"
#include "place/move_ledger.h"
#include "store/history_store.h"

namespace forerun::daemon {

// Who plans for all, in a cluster.
struct PlanLead {
  bool is_leader = false;
  uint64_t token = 0;  // goes with every order
  std::string leader;
};

// Thread-safe.
class Plans final : public api::PlanService {
 public:
  struct Parts {
    std::string state_dir;
    std::function<int64_t()> unix_seconds;
    store::HistoryStore& history;
    std::function<std::vector<api::VmInfo>()> list_vms;
    std::vector<std::string> peers;  // names of the other hosts
    // Asks another host, which answers with a message of the kind; blocks at most so long.
    std::function<Result<PeerMessage>(const std::string& host, const PeerMessage& question,
                                      PeerMessageKind answer, Nanos timeout)>
        ask;
    // Moves a VM of this host; an operation's work.
    std::function<Result<std::string>(const std::string& vm, const api::MigrateRequest& request,
                                      Operations::Progress& progress)>
        migrate;
    // Starts an operation "plan_apply".
    std::function<Result<api::OperationInfo>(Operations::Work)> start;
    std::function<std::optional<PlanLead>()> lead;  // empty: there is no cluster
    // Lets an act pass that `host` asks for (empty: this one) with that token; empty: none is
    // needed.
    std::function<Status(const std::string& host, uint64_t token, std::string_view act)> admit;
    // Keeps a plan that is about to be carried out for all to see; empty: nobody does.
    std::function<Status(std::string json)> publish;
    std::string host;  // as others call this one; empty: they say
    std::string zone;  // of this host
    std::map<std::string, std::string> labels;
  };

  // ERRORS: kCorrupt, kIo: what is kept of earlier moves.
  static Result<std::unique_ptr<Plans>> open(Parts parts);
  ~Plans() { stop(); }
  // Carries plans out every tick, if that is the policy, and scores what is due.
  void start();
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
  std::optional<PlanLead> lead() const { return parts_.lead ? parts_.lead() : std::nullopt; }
  // Returns who plans without being asked, if anybody does.
  std::string planner_of(const Fleet& fleet);

  // Makes the moves of the plan, one after the other. Returns what came of it, for people.
  Result<std::string> apply(Operations::Progress& progress);
  Result<std::string> carry_out(const Fleet& fleet, Operations::Progress& progress);
  // Returns whether the move was made.
  bool make(const place::FleetModel& model, const place::PlannedMove& move,
            Operations::Progress& progress);
  Result<std::string> order(const place::MoveRecord& record, Operations::Progress& progress);
  void settle(const place::FleetSnapshot& snapshot);
  Status save(const std::string& name, const std::string& text) const;
  void save_ledger();
  void run();
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
  bool is_stopping_ = false;
  std::condition_variable stop_changed_;
  std::jthread thread_;
};

}  // namespace forerun::daemon
