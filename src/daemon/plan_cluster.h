// What the hosts of a cluster agree on about plans, in the cluster's store: the policy, what was
// moved, where VMs run. docs/cluster.md has the keys.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "api/plan_service.h"
#include "cluster/cluster_state.h"

namespace forerun::daemon {

// Who plans for all, in a cluster.
struct PlanLead {
  bool is_leader = false;
  uint64_t token = 0;  // goes with every order, and with all that the leader writes
  std::string leader;  // empty: nobody leads
};

// Where a VM runs, and where it goes.
struct PlanPlacement {
  std::string host;
  std::string to;  // empty: it stays
  bool operator==(const PlanPlacement&) const = default;
};

// Thread-safe. Calls wait for the store, for 5 s at most. ERRORS of all: those of the store.
class PlanCluster {
 public:
  struct Parts {
    cluster::ClusterState& state;
    std::function<PlanLead()> lead;
    // Lets an act pass that `host` asks for (empty: this one) with that token.
    std::function<Status(const std::string& host, uint64_t token, std::string_view act)> admit;
    // What the store last failed with: then it is not asked, so that nobody waits for it.
    std::function<Status()> answers;
  };
  explicit PlanCluster(Parts parts) : parts_(std::move(parts)) {}

  PlanLead lead() const { return parts_.lead(); }
  Status admit(const std::string& host, uint64_t token, std::string_view act) {
    return parts_.admit(host, token, act);
  }

  struct Policy {
    bool is_auto = false;
    std::string rules = "{}";
    cluster::Revision revision = 0;  // 0: there is none yet
  };
  // ERRORS: kCorrupt.
  Result<Policy> policy();
  // Changes what is said, and returns all. ERRORS: kExists: others change it again and again.
  Result<Policy> change_policy(const api::PlanPolicyRequest& request);

  // What follows is the leader's. ERRORS: kDenied: the token is not that of whoever leads.

  // Keeps a plan that is about to be carried out.
  Status publish(uint64_t token, std::string json);
  // Returns what was kept of the moves; nothing: none were.
  Result<std::optional<std::string>> moves() { return memory("moves"); }
  Result<std::map<std::string, PlanPlacement>> placements();
  using Changes = std::map<std::string, std::optional<PlanPlacement>>;  // by VM; nothing: removed
  // Keeps what is known of workloads and hosts (AffinityWatch::encode).
  Status keep_affinity(uint64_t token, std::string json);
  Result<std::optional<std::string>> affinity() { return memory("affinity"); }
  // Keeps moves and the first of the placements at once; further placements follow.
  Status keep(uint64_t token, std::optional<std::string> moves, const Changes& changes);

 private:
  Result<std::optional<std::string>> memory(const std::string& name);
  const Parts parts_;
};

}  // namespace forerun::daemon
