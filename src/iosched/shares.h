// What each VM may have of a contended resource, and the tags that hold it to that over all
// classes.
#pragma once

#include <unordered_map>

#include "core/id.h"
#include "core/result.h"
#include "core/time.h"

namespace forerun::iosched {

inline constexpr double kWeightMin = 1, kWeightMax = 10'000, kWeightDefault = 100;

// A VM's share of each resource.
struct Share {
  double weight = kWeightDefault;   // relative to the other VMs', kWeightMin to kWeightMax
  double reserved_bytes_per_s = 0;  // of what guests wait for, before anything is weighed; 0: none
  double limit_bytes_per_s = 0;     // of all classes together; 0: none
  bool operator==(const Share&) const = default;
};

// ERRORS: kInvalid, naming the field: a weight out of range, a negative or not finite rate, a
// reservation above the limit.
Status check(const Share& share);

// Time that a rate may be behind and still be made up for: a client that asks for its next request
// only when it has the last one would otherwise never get what is reserved for it (ceph/dmclock
// pull request 34: "deceptive idleness"). Bounds what an idle VM saves up.
inline constexpr Nanos kRateCredit = 100ms;

// The shares of all VMs of one resource. One thread.
class Shares {
 public:
  // What a VM is held to. Tags as of mClock (Gulati et al., OSDI 2010): the time at which the
  // next request is due by the rate.
  struct Vm {
    Share share;
    Time limit_tag = kTimeZero;

    // Returns when the VM may be served next.
    Time allowed_at() const { return share.limit_bytes_per_s > 0 ? limit_tag : kTimeZero; }
    // Takes that `bytes` of it were served, in whatever class.
    void charge(uint64_t bytes, Time now) {
      if (share.limit_bytes_per_s <= 0) return;
      const Time from = std::max(limit_tag, now - kRateCredit);
      limit_tag = from + from_seconds(static_cast<double>(bytes) / share.limit_bytes_per_s);
    }
  };

  // REQUIRES: check(share).
  void set(VmId vm, const Share& share) {
    FR_ASSERT(check(share).has_value());
    vms_[vm.value] = {share, kTimeZero};
  }
  // Gives the VM what those have that nothing was said of.
  void forget(VmId vm) { vms_.erase(vm.value); }
  // Null: nothing was said of it. Valid until set() or forget().
  Vm* find(VmId vm) {
    const auto found = vms_.find(vm.value);
    return found == vms_.end() ? nullptr : &found->second;
  }
  Share share(VmId vm) {
    const Vm* found = find(vm);
    return found == nullptr ? Share{} : found->share;
  }

 private:
  std::unordered_map<uint32_t, Vm> vms_;
};

}  // namespace forerun::iosched
