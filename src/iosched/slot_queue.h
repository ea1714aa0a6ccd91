// Who gets the next free place at a resource that works on several requests at once, as a disk
// does: the classes before each other, each lower one with a floor, and within a class the VMs
// fairly by weight (fair_queue.h). Unlike scheduler.h it knows nothing of a rate: what is lower
// than critical holds at most half of the places, so that a read that comes finds one free or soon
// free.
#pragma once

#include <array>
#include <optional>

#include "iosched/fair_queue.h"
#include "iosched/scheduler.h"

namespace forerun::iosched {

// One thread (its owner holds a mutex around it).
class SlotQueue {
 public:
  struct Options {
    uint32_t places = 8;
    uint32_t places_below_critical = 4;
    double floor_ratio[kIoClassCount] = {0, 0.02, 0.01};  // see SchedulerOptions
  };
  explicit SlotQueue(Options options)
      : options_(options),
        queues_{FairQueue(shares_, false), FairQueue(shares_, false), FairQueue(shares_, false)} {}

  // Relative to the other VMs'. REQUIRES: kWeightMin to kWeightMax.
  void set_weight(VmId vm, double weight, Time now);
  void forget(VmId vm, Time now);
  // `due` of a request is not heeded: within a class and VM they go as they came.
  void push(const Request& request, Time now);
  // Returns what goes next if `used` places are taken, of them `used_below` by what is lower than
  // critical; nothing: none may.
  std::optional<Request> pull(uint32_t used, uint32_t used_below, Time now);
  size_t size() const { return queues_[0].size() + queues_[1].size() + queues_[2].size(); }
  const Options& options() const { return options_; }

 private:
  Request take(size_t index, const FairQueue::Next& next, Time now);

  const Options options_;
  Shares shares_;
  std::array<FairQueue, kIoClassCount> queues_;
  std::array<double, kIoClassCount> owed_bytes_{};  // to a class that waits, by its floor
  uint64_t sequence_ = 0;
};

}  // namespace forerun::iosched
