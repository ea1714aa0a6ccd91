// A host in its cluster: holds its lease, is registered under it, and stands for election. Called
// by one thread, which waits for the store in it; what it knows is read by any. SOURCE: leases and
// fencing as in Gray and Cheriton (SOSP 1989) and Burrows, "The Chubby lock service" (OSDI 2006),
// section 2.4: the sequencer is the revision that made the leader's key.
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>

#include "cluster/cluster_state.h"
#include "core/time.h"

namespace forerun::cluster {

struct MemberOptions {
  HostRecord self;
  Nanos lease = std::chrono::seconds(10);
  bool may_lead = true;
};

struct MemberStatus {
  bool is_registered = false;
  Nanos lease_left{};  // until this host must count its lease as ended; at most 0: it has
  Leadership leadership;
  ClusterState::Leader leader;  // as last seen
  std::optional<Error> error;   // of the last step
};

class Member {
 public:
  // `state` and `clock` outlive it.
  Member(ClusterState& state, const Clock& clock, MemberOptions options);

  // Does what is due; returns how long nothing is. Never fails: the store that is away is asked
  // again.
  Nanos step();
  // Gives up lease, registration and leadership, as far as the store answers.
  void leave();

  // Any thread. What the next step() may not take for granted: somebody changed a key of ours, or
  // the leader's.
  void look_again() { must_look_ = true; }
  // Any thread. False from a margin before the lease can end, whether or not step() is called
  // meanwhile: a process that was stopped for long does not lead when it wakes.
  Leadership leadership() const;
  MemberStatus status() const;

 private:
  Status renew();
  Status enroll();
  Status elect();
  Status stand(const std::optional<KeyValue>& holder);
  Status look();
  void lose_lease();
  Time now() const { return clock_.now(); }

  ClusterState& state_;
  const Clock& clock_;
  const MemberOptions options_;
  const std::string record_;

  // Of the stepping thread.
  LeaseId lease_ = 0;
  Time renew_at_ = kTimeZero;
  Time look_at_ = kTimeZero;
  Nanos retry_;

  std::atomic<bool> must_look_{true};
  mutable std::mutex mutex_;      // guards the below; not held across calls of the store
  Nanos ttl_;                     // written by the stepping thread only
  Time lease_until_ = kTimeZero;  // counted from before the store was asked
  bool is_registered_ = false;
  uint64_t token_ = 0;  // 0: not elected
  ClusterState::Leader leader_;
  std::optional<Error> error_;
};

}  // namespace forerun::cluster
