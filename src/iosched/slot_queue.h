// Who gets the next free place at a resource that works on several requests at once, as a disk
// does: the classes before each other, each lower one with a floor, and within a class the VMs
// fairly by weight, with reservations and limits (fair_queue.h). Unlike scheduler.h it knows
// nothing of a rate. A request that the resource has begun cannot be taken back, so places are kept
// free for those that will come and must not wait: as many as latency-sensitive VMs used at once
// lately (light_flows.h), none if there were none. Of the others, what is lower than critical
// leaves as many as critical requests of whatever VM used.
#pragma once

#include <array>
#include <optional>

#include "iosched/fair_queue.h"
#include "iosched/light_flows.h"
#include "iosched/scheduler.h"

namespace forerun::iosched {

// One thread (its owner holds a mutex around it).
class SlotQueue {
 public:
  struct Options {
    uint32_t places = 8;
    uint32_t places_kept_max = 4;                         // below `places`
    double floor_ratio[kIoClassCount] = {0, 0.02, 0.01};  // see SchedulerOptions
  };
  explicit SlotQueue(Options options)
      : options_(options),
        queues_{FairQueue(shares_, true), FairQueue(shares_, false), FairQueue(shares_, false)} {
    FR_ASSERT(options.places_kept_max < options.places);
  }

  // What the VM may have from now on. REQUIRES: check(share).
  void set_share(VmId vm, const Share& share, Time now);
  void forget(VmId vm, Time now);
  // `due` of a request is not heeded: within a class and VM they go as they came. `rated_bytes`:
  // that count as its VM's rate.
  void push(const Request& request, uint64_t rated_bytes, Time now);
  void push(const Request& request, Time now) { push(request, request.bytes, now); }
  // Returns what goes next if `used` places are taken, of them `used_below` by what is lower than
  // critical; nothing: none may.
  std::optional<Request> pull(uint32_t used, uint32_t used_below, Time now);
  // What pull() gave has ended.
  void on_end(VmId vm, IoClass io_class, Time now);
  // Returns when a VM's limit lets something go that it holds back now; kTimeNever: it holds none.
  Time released_at(Time now);

  // Places that are kept free now for VMs that ask for little at once.
  uint32_t kept(Time now) const { return std::min(light_.at_once(now), options_.places_kept_max); }
  // Returns whether who comes has to come through here, though places are free: some may be kept.
  // Only while, lately, somebody was kept for and somebody waited.
  bool is_watchful(Time now) const {
    return (kept(now) > 0 && waiting_.get(now) > 0) ||
           (critical_.get(now) > 0 && waiting_below_.get(now) > 0);
  }
  size_t size() const { return queues_[0].size() + size_below(); }
  const Options& options() const { return options_; }

 private:
  size_t size_below() const { return queues_[1].size() + queues_[2].size(); }
  Request take(size_t index, const FairQueue::Next& next, Time now);
  std::optional<Request> choose(uint32_t used, uint32_t used_below, Time now);

  const Options options_;
  Shares shares_;
  std::array<FairQueue, kIoClassCount> queues_;
  std::array<double, kIoClassCount> owed_bytes_{};  // to a class that waits, by its floor
  LightFlows light_;                                // of critical requests
  RecentPeak critical_;                             // such requests at once, in a place or waiting
  RecentPeak waiting_, waiting_below_;              // all, those below critical: for a place
  uint64_t sequence_ = 0;
};

}  // namespace forerun::iosched
