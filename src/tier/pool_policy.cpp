#include "tier/pool_policy.h"

#include <algorithm>

namespace forerun::tier {
namespace {

uint64_t part_of(uint64_t bytes, double ratio) {
  return static_cast<uint64_t>(static_cast<double>(bytes) * ratio);
}
bool is_past(Time since, Nanos span, Time now) {
  return since == Time::min() || now - since >= span;
}

}  // namespace

PoolPolicy::PoolPolicy(Options options) : options_(options), target_(options.bytes_max) {
  options_.bytes_min = std::min(options_.bytes_min, options_.bytes_max);
  options_.high_ratio = std::max(options_.high_ratio, options_.low_ratio);
}

void PoolPolicy::shrink_to(uint64_t bytes) {
  target_ = std::min(target_, std::max(bytes, options_.bytes_min));
}

uint64_t PoolPolicy::update(const HostMemory& host, uint64_t used_bytes, Time now) {
  const uint64_t low = part_of(host.total_bytes, options_.low_ratio);
  const uint64_t high = part_of(host.total_bytes, options_.high_ratio);
  const uint64_t step = part_of(options_.bytes_max, options_.step_ratio);
  const uint64_t used = std::min(used_bytes, target_);
  if (host.available_bytes < low) {
    // Only what is used can be given back; what was not used yet is not taken either.
    const uint64_t missing = high - host.available_bytes;
    shrink_to(used - std::min(used, missing));
    calm_since_ = now;
  } else if (host.available_bytes < high && host.stall_ratio >= options_.stall_ratio) {
    calm_since_ = now;
    if (!is_past(stepped_back_at_, options_.stall_pause, now)) return target_;
    stepped_back_at_ = now;
    shrink_to(used - std::min(used, step));
  } else if (host.available_bytes < high || host.stall_ratio >= options_.stall_ratio / 10) {
    calm_since_ = now;
  } else if (target_ < options_.bytes_max && now - calm_since_ >= options_.calm &&
             is_past(grew_at_, options_.growth_interval, now)) {
    // No further than leaves what is asked for.
    const uint64_t spare = host.available_bytes - high;
    const uint64_t room = used + spare;
    target_ = std::max(target_, std::min({target_ + step, options_.bytes_max, room}));
    grew_at_ = now;
  }
  return target_;
}

}  // namespace forerun::tier
