// Requests of one class, served fairly among VMs.
//
// Start-time fair queuing with depth: whoever has got least for its weight goes first, whatever
// rate the resource has and however many requests it takes at once. Over any interval in which VMs
// f and m both wait, |W_f/w_f - W_m/w_m| <= (D+1)(l_f/w_f + l_m/w_m) for bytes served W, weights w,
// longest requests l and depth D. Before it, what is reserved and due; around it, limits.
// SOURCE: SFQ: Goyal, Vin, Cheng, SIGCOMM 1996. SFQ(D): Jin, Chase, Kaur, SIGMETRICS 2004.
// Reservations and limits: mClock, Gulati, Merchant, Varman, OSDI 2010.
#pragma once

#include <limits>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>

#include "iosched/shares.h"

namespace forerun::iosched {

// One thread. Every operation costs O(log n).
class FairQueue {
 public:
  // One request in its VM's line.
  struct Place {
    Time due{};
    uint64_t sequence = 0;  // unique
    uint64_t key = 0;
    uint64_t bytes = 0;
    uint64_t rated_bytes = bytes;  // of these: that count for what is reserved and limited
    auto operator<=>(const Place&) const = default;
  };
  struct Next {
    VmId vm;
    Place place;
    bool is_reserved = false;  // goes because it was reserved
  };

  // `shares` outlives it. With `reserves` false what is reserved does not count here.
  FairQueue(Shares& shares, bool reserves) : shares_(shares), reserves_(reserves) {}

  // Within a VM: the earlier due first, then by sequence.
  void push(VmId vm, const Place& place, Time now);
  // REQUIRES: it is queued.
  void erase(VmId vm, const Place& place);
  // Returns what goes next, or nothing: it is empty, or all who wait are at their limits.
  std::optional<Next> peek(Time now);
  // Returns the first by weight among the VMs of which `is_one` says so, though it is not the first
  // of all: if it would be once that one had its request. So the bound holds but for one request
  // more. What is reserved is not looked at. O(VMs).
  template <class Predicate>
  std::optional<Next> peek_ahead(Time now, Predicate is_one) {
    release_held(now);
    double start_max = std::numeric_limits<double>::infinity();
    for (const auto& [start, vm] : by_start_) {
      if (start > start_max) break;
      Shares::Vm* const known = shares_.find(VmId{vm});
      if (known != nullptr && known->allowed_at() > now) continue;
      const Place& place = *flows_.at(vm).line.begin();
      if (is_one(VmId{vm})) return Next{VmId{vm}, place, false};
      // One that its limit held back may be far behind.
      start_max = std::min(start_max, std::max(start, virtual_) +
                                          static_cast<double>(place.bytes) /
                                              (known ? known->share.weight : kWeightDefault));
    }
    return std::nullopt;
  }
  // Takes it out, and charges its VM. REQUIRES: peek() or peek_ahead() just gave it.
  void take(const Next& next, Time now);
  // Returns when peek() gives something if nothing changes; kTimeNever: empty.
  Time ready_at(Time now);
  // Returns when a limit lets a VM go that it holds back now; kTimeNever: it holds none.
  Time released_at(Time now) {
    release_held(now);
    return held_.empty() ? kTimeNever : held_.begin()->first;
  }
  bool is_empty() const { return size_ == 0; }
  size_t size() const { return size_; }
  // The VM's share was changed: it starts level with the others.
  void on_share(VmId vm, Time now);

 private:
  // A VM that waits, or that waited a moment ago. Tags are in bytes over weight.
  struct Flow {
    std::set<Place> line;
    double start = 0;           // of its next request
    Time reserved_tag{};        // when its next request is due by what is reserved
    Time held_until{};          // under which it stands in held_
    bool is_held = false;       // it stands in held_, not in by_start_
    bool has_reserved = false;  // it stands in by_reserved_
  };
  using ByStart = std::set<std::pair<double, uint32_t>>;
  using ByTime = std::set<std::pair<Time, uint32_t>>;

  void admit(uint32_t vm, Flow& flow, Time now);  // into the orders; its line is not empty
  void withdraw(uint32_t vm, Flow& flow);         // from all of them
  void release_held(Time now);
  void drop_level();

  Shares& shares_;
  const bool reserves_;
  std::unordered_map<uint32_t, Flow> flows_;
  ByStart by_start_;    // of those that may be served
  ByTime held_;         // by their limits
  ByTime by_reserved_;  // by when they are due
  ByStart idle_;        // those that wait no more, but got more than their share
  double virtual_ = 0;  // start tag of the last request that was served by weight
  size_t size_ = 0;
};

}  // namespace forerun::iosched
