// Which VMs are latency-sensitive at a resource with places: those that ask for little at once and
// wait for it, as a program does that reads one block after the other. How many places such VMs
// used at once lately is what is kept free for them, so that they find one though others could fill
// all. Like the sync queues that BFQ idles for and the depth that Kyber leaves to reads, but by the
// VM's own depth: nothing of the resource's rate or latency has to be known.
#pragma once

#include <algorithm>
#include <unordered_map>

#include "core/id.h"
#include "core/time.h"

namespace forerun::iosched {

// The greatest value of the last kSpan to twice that.
class RecentPeak {
 public:
  static constexpr Nanos kSpan = 500ms;

  void note(uint32_t value, Time now) {
    const int64_t window = (now - kTimeZero) / kSpan;
    if (window != window_) {
      before_ = window == window_ + 1 ? current_ : 0;
      current_ = 0;
      window_ = window;
    }
    current_ = std::max(current_, value);
  }
  uint32_t get(Time now) const {
    const int64_t age = (now - kTimeZero) / kSpan - window_;
    return age == 0 ? std::max(current_, before_) : age == 1 ? current_ : 0;
  }

 private:
  int64_t window_ = -2;
  uint32_t current_ = 0, before_ = 0;
};

// One thread. A request arrives, is started, is finished.
class LightFlows {
 public:
  // A VM that has more requests at once than this keeps the resource busy by itself.
  static constexpr uint32_t kDepthMax = 2;

  void arrive(VmId vm, Time now);
  void start(VmId vm);
  void finish(VmId vm, Time now);
  // The VM is gone, once it has no more requests.
  void forget(VmId vm);

  // Of a VM that is not known too.
  bool is_light(VmId vm) const;
  // Returns how many requests light VMs had at once lately.
  uint32_t at_once(Time now) const { return peak_.get(now); }
  uint32_t started() const { return started_; }  // … and have started now

 private:
  struct Flow {
    uint32_t here = 0, started = 0;  // requests
    RecentPeak depth;
    bool is_light = true;
  };
  void classify(Flow& flow, Time now);

  std::unordered_map<uint32_t, Flow> flows_;
  uint32_t here_ = 0, started_ = 0;  // requests of all light flows
  RecentPeak peak_;                  // of here_
};

}  // namespace forerun::iosched
