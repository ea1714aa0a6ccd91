#include "iosched/light_flows.h"

#include "core/result.h"

namespace forerun::iosched {

// Its requests are counted among those of light flows, or are taken out of them.
void LightFlows::classify(Flow& flow, Time now) {
  const bool is_light = flow.depth.get(now) <= kDepthMax;
  if (is_light == flow.is_light) return;
  flow.is_light = is_light;
  if (is_light) {
    here_ += flow.here;
    started_ += flow.started;
    return;
  }
  here_ -= flow.here;
  started_ -= flow.started;
  peak_ = {};  // part of it was this one's
  peak_.note(here_, now);
}

void LightFlows::arrive(VmId vm, Time now) {
  Flow& flow = flows_[vm.value];
  ++flow.here;
  if (flow.is_light) ++here_;
  flow.depth.note(flow.here, now);
  classify(flow, now);
  if (flow.is_light) peak_.note(here_, now);
}

void LightFlows::start(VmId vm) {
  const auto found = flows_.find(vm.value);
  FR_ASSERT(found != flows_.end() && found->second.started < found->second.here);
  ++found->second.started;
  if (found->second.is_light) ++started_;
}

void LightFlows::finish(VmId vm, Time now) {
  const auto found = flows_.find(vm.value);
  FR_ASSERT(found != flows_.end() && found->second.started > 0);
  Flow& flow = found->second;
  --flow.here;
  --flow.started;
  if (flow.is_light) {
    --here_;
    --started_;
  }
  flow.depth.note(flow.here, now);
  classify(flow, now);
}

void LightFlows::forget(VmId vm) {
  const auto found = flows_.find(vm.value);
  if (found != flows_.end() && found->second.here == 0) flows_.erase(found);
}

bool LightFlows::is_light(VmId vm) const {
  const auto found = flows_.find(vm.value);
  return found == flows_.end() || found->second.is_light;
}

}  // namespace forerun::iosched
