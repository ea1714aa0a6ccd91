// This host in its cluster: its lease and registration, the election, what is known of the others.
// Two threads of its own wait for the store, so that nothing else has to (docs/cluster.md).
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "api/cluster_info.h"
#include "cluster/cluster_state.h"
#include "cluster/fence.h"
#include "cluster/member.h"
#include "daemon/config.h"

namespace forerun::daemon {

// Thread-safe.
class ClusterService {
 public:
  // ERRORS: of the configuration and of the files; a store that is away is none.
  static Result<std::unique_ptr<ClusterService>> open(const Config& config, const Clock& clock);
  ~ClusterService() { stop(); }

  // Called from threads of this object. Before start().
  struct Listeners {
    std::function<void(const std::vector<cluster::HostEntry>&)> on_hosts;  // all of them, now
    std::function<void()> on_lead;    // this host leads, or does so no more
    std::function<void()> on_policy;  // a policy was changed
  };
  void tell(Listeners listeners) { listeners_ = std::move(listeners); }
  void start();
  // Gives up lease and leadership.
  void stop();

  // Whether this host plans and acts for the cluster, now; ask again before every act. Never waits.
  cluster::Leadership leadership() const { return member_->leadership(); }
  // Lets an act of a leader pass, or refuses one of a leader that is none any more. Acts for which
  // a person asked this host need no token. ERRORS: kDenied; kIo, kNoSpace.
  Status admit(uint64_t token, std::string_view act) { return fence_->admit(token, act); }
  // The same of an act that another host asks for: it must be the leader, by the store's word if
  // the token is new here. ERRORS: also those of the store.
  Status admit_from(const std::string& host, uint64_t token, std::string_view act);
  // Plans, policies, placements. Calls wait for the store, for 5 s at most.
  cluster::ClusterState& state() { return *state_; }
  // What the store failed with when it was asked last. Never waits.
  Status answers() const;
  const std::string& self() const { return record_.name; }

  // As the store said last. Never waits.
  std::vector<cluster::HostEntry> hosts() const;
  api::ClusterInfo info() const;
  // Adds what the cluster knows of them to `peers`, and those of its hosts that are not among them.
  std::vector<api::PeerInfo> with_cluster(std::vector<api::PeerInfo> peers) const;
  Status forget_host(const std::string& name);

 private:
  explicit ClusterService(const Config& config) : config_(config) {}
  void step_until_stopped();
  void watch_until_stopped();
  // Reads the hosts, and follows what changes until it cannot.
  Status follow();
  void notice(const std::string& key, const cluster::Event& event);
  Status read_hosts();
  // Returns false once this is stopping.
  bool wait(Nanos time);

  const Config& config_;
  Listeners listeners_;
  cluster::HostRecord record_;
  std::unique_ptr<cluster::StateStore> store_;
  std::unique_ptr<cluster::ClusterState> state_;
  std::unique_ptr<cluster::Fence> fence_;
  std::unique_ptr<cluster::Member> member_;

  mutable std::mutex mutex_;  // guards the below; not held while the store is asked
  std::condition_variable woken_;
  bool is_stopping_ = false;
  bool must_step_ = false;
  std::vector<cluster::HostEntry> hosts_;
  std::shared_ptr<cluster::Watch> watch_;
  std::jthread stepper_, watcher_;
};

}  // namespace forerun::daemon
