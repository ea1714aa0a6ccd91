#include "iosched/fair_queue.h"

#include <algorithm>
#include <cmath>

#include "core/result.h"

namespace forerun::iosched {

Status check(const Share& share) {
  if (!(share.weight >= kWeightMin && share.weight <= kWeightMax))
    return fail(ErrorCode::kInvalid, fmt::format("weight {} is not within {} to {}", share.weight,
                                                 kWeightMin, kWeightMax));
  for (const auto& [name, rate] : {std::pair{"reservation", share.reserved_bytes_per_s},
                                   std::pair{"limit", share.limit_bytes_per_s}})
    if (!std::isfinite(rate) || rate < 0)
      return fail(ErrorCode::kInvalid,
                  fmt::format("{} {} is no rate in bytes a second", name, rate));
  if (share.limit_bytes_per_s > 0 && share.reserved_bytes_per_s > share.limit_bytes_per_s)
    return fail(ErrorCode::kInvalid,
                fmt::format("reservation {} is above the limit {}", share.reserved_bytes_per_s,
                            share.limit_bytes_per_s));
  return {};
}

void FairQueue::push(VmId vm, const Place& place, Time now) {
  const auto [found, is_new] = flows_.try_emplace(vm.value);
  Flow& flow = found->second;
  if (flow.line.empty()) {
    if (!is_new) idle_.erase({flow.start, vm.value});
    flow.start = std::max(flow.start, virtual_);
    flow.reserved_tag = std::max(flow.reserved_tag, now - kRateCredit);
    flow.line.insert(place);
    admit(vm.value, flow, now);
  } else {
    flow.line.insert(place);
  }
  ++size_;
}

void FairQueue::admit(uint32_t vm, Flow& flow, Time now) {
  const Shares::Vm* known = shares_.find(VmId{vm});
  const Time allowed = known == nullptr ? kTimeZero : known->allowed_at();
  flow.is_held = allowed > now;
  flow.held_until = allowed;
  if (flow.is_held)
    held_.insert({allowed, vm});
  else
    by_start_.insert({flow.start, vm});
  flow.has_reserved = reserves_ && known != nullptr && known->share.reserved_bytes_per_s > 0;
  if (flow.has_reserved) by_reserved_.insert({flow.reserved_tag, vm});
}

void FairQueue::withdraw(uint32_t vm, Flow& flow) {
  if (flow.is_held)
    held_.erase({flow.held_until, vm});
  else
    by_start_.erase({flow.start, vm});
  if (flow.has_reserved) by_reserved_.erase({flow.reserved_tag, vm});
  flow.is_held = flow.has_reserved = false;
}

void FairQueue::erase(VmId vm, const Place& place) {
  Flow& flow = flows_.at(vm.value);
  const size_t gone = flow.line.erase(place);
  FR_ASSERT(gone == 1, "what is taken out is not queued");
  --size_;
  if (!flow.line.empty()) return;
  withdraw(vm.value, flow);
  idle_.insert({flow.start, vm.value});
  drop_level();
}

void FairQueue::release_held(Time now) {
  while (!held_.empty() && held_.begin()->first <= now) {
    const uint32_t vm = held_.begin()->second;
    Flow& flow = flows_.at(vm);
    withdraw(vm, flow);
    admit(vm, flow, now);  // another class may have used up the limit meanwhile
  }
}

std::optional<FairQueue::Next> FairQueue::peek(Time now) {
  release_held(now);
  // A reservation is at most the limit, so what is due by it need not be held to the limit again.
  if (!by_reserved_.empty() && by_reserved_.begin()->first <= now) {
    const uint32_t vm = by_reserved_.begin()->second;
    return Next{VmId{vm}, *flows_.at(vm).line.begin(), true};
  }
  while (!by_start_.empty()) {
    const uint32_t vm = by_start_.begin()->second;
    Flow& flow = flows_.at(vm);
    const Shares::Vm* known = shares_.find(VmId{vm});
    if (known == nullptr || known->allowed_at() <= now)
      return Next{VmId{vm}, *flow.line.begin(), false};
    withdraw(vm, flow);  // another class used up the limit
    admit(vm, flow, now);
  }
  return std::nullopt;
}

void FairQueue::take(const Next& next, Time now) {
  const uint32_t vm = next.vm.value;
  Flow& flow = flows_.at(vm);
  withdraw(vm, flow);
  const size_t gone = flow.line.erase(next.place);
  FR_ASSERT(gone == 1, "what is served is not queued");
  --size_;
  Shares::Vm* known = shares_.find(next.vm);
  const Share share = known == nullptr ? Share{} : known->share;
  if (next.is_reserved)
    flow.reserved_tag +=
        from_seconds(static_cast<double>(next.place.rated_bytes) / share.reserved_bytes_per_s);
  else
    virtual_ = std::max(virtual_, flow.start);
  flow.start += static_cast<double>(next.place.bytes) / share.weight;
  if (known != nullptr) known->charge(next.place.rated_bytes, now);
  if (flow.line.empty())
    idle_.insert({flow.start, vm});
  else
    admit(vm, flow, now);
  drop_level();
}

// Those that are level with the others, or behind, begin anew when they come back.
void FairQueue::drop_level() {
  while (!idle_.empty() && idle_.begin()->first <= virtual_) {
    const uint32_t vm = idle_.begin()->second;
    idle_.erase(idle_.begin());
    const Shares::Vm* known = shares_.find(VmId{vm});
    // Its place by what is reserved is in time, not in service.
    if (known == nullptr || known->share.reserved_bytes_per_s <= 0) flows_.erase(vm);
  }
}

Time FairQueue::ready_at(Time now) {
  if (peek(now)) return now;
  Time at = held_.empty() ? kTimeNever : held_.begin()->first;
  if (!by_reserved_.empty()) at = std::min(at, by_reserved_.begin()->first);
  return at;
}

void FairQueue::on_share(VmId vm, Time now) {
  const auto found = flows_.find(vm.value);
  if (found == flows_.end()) return;
  Flow& flow = found->second;
  const bool waits = !flow.line.empty();
  if (waits)
    withdraw(vm.value, flow);
  else
    idle_.erase({flow.start, vm.value});
  flow.start = virtual_;
  flow.reserved_tag = now;
  if (waits)
    admit(vm.value, flow, now);
  else
    flows_.erase(found);
}

}  // namespace forerun::iosched
