// What a cluster keeps, by name: its hosts, the plan, policies, where VMs are wanted. A layer over
// a StateStore; its keys: docs/cluster.md.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cluster/documents.h"
#include "cluster/state_store.h"

namespace forerun::cluster {

// Whether this host may plan and act for the cluster, now. Ask again before every act.
struct Leadership {
  bool is_leader = false;
  uint64_t token = 0;  // grows from leader to leader; goes with every act; 0: never led
};

struct HostEntry {
  HostRecord host;
  bool is_alive = false;  // its lease is there; false: it was seen once, and its lease has ended
};

struct NamedDocument {
  std::string name;
  Document document;
};

// Thread-safe; calls block as those of the store do, and have its errors. ERRORS also: kCorrupt:
// what is kept cannot be read.
class ClusterState {
 public:
  // `cluster` is its name in the store, for stores that serve several; is_valid_name(). The store
  // outlives this.
  ClusterState(StateStore& store, const std::string& cluster);

  // By name.
  Result<std::vector<HostEntry>> hosts();
  // Forgets a host that is gone for good. ERRORS: kNotFound; kExists: its lease is there.
  Status forget_host(const std::string& name);
  // Returns the token of whoever leads; 0: nobody.
  struct Leader {
    std::string host;
    uint64_t token = 0;
  };
  Result<Leader> leader();

  // The plan that was made last, and how far it got: opaque here. Returns its revision.
  // ERRORS of put: kDenied: `plan.token` is not the leader's; kInvalid: no JSON; kTooLarge.
  Result<std::optional<Document>> get_plan() { return get(prefix_ + "plan"); }
  Result<Revision> put_plan(const Document& plan) { return put_as_leader(prefix_ + "plan", plan); }

  // Policies, by name. Anyone may write them who knows the one that is there: ERRORS of put and
  // remove: kExists: its revision is not `policy.revision` (0: there is none).
  Result<std::vector<NamedDocument>> policies() { return list(prefix_ + "policies/"); }
  Result<std::optional<Document>> get_policy(const std::string& name);
  Result<Revision> put_policy(const std::string& name, const Document& policy);
  Status remove_policy(const std::string& name, Revision revision);

  // Where each VM runs, and where it is wanted; written by the leader, as put_plan.
  Result<std::vector<NamedDocument>> placements() { return list(prefix_ + "placements/"); }
  Result<Revision> put_placement(const std::string& vm, const Document& placement);
  Status remove_placement(const std::string& vm, uint64_t token);
  // What the planner hands from leader to leader, by name: "moves".
  Result<std::optional<Document>> get_memory(const std::string& name);

  // A memory or a placement that the leader writes, or removes.
  struct LeaderChange {
    enum class Of : uint8_t { kMemory, kPlacement };
    Of of = Of::kMemory;
    std::string name;
    std::optional<std::string> json;  // none: it is removed
  };
  // All of them, as one revision, or none. REQUIRES: at most kTransactionChangesMax. ERRORS: as
  // put_plan.
  Result<Revision> change_as_leader(uint64_t token, std::span<const LeaderChange> changes);

  // Keys, for those who watch.
  const std::string& prefix() const { return prefix_; }
  std::string leader_key() const { return prefix_ + "leader"; }
  std::string member_key(const std::string& host) const { return prefix_ + "members/" + host; }
  std::string host_key(const std::string& host) const { return prefix_ + "hosts/" + host; }
  StateStore& store() { return store_; }

 private:
  Result<std::optional<Document>> get(const std::string& key);
  Result<std::vector<NamedDocument>> list(const std::string& prefix);
  Result<Revision> put_as_leader(const std::string& key, const Document& document);
  Result<Revision> as_leader(uint64_t token, std::vector<Change> changes);

  StateStore& store_;
  const std::string prefix_;  // "forerun/CLUSTER/"
};

}  // namespace forerun::cluster
