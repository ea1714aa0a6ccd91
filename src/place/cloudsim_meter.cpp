#include "place/cloudsim_meter.h"

namespace forerun::place {

// Closes the state before the standing one at the time of the standing one.
void CloudsimMeter::settle(Trail<HostState>& trail) {
  const HostState& now = trail.standing;
  if (now.time < 0) return;
  const HostState& before = trail.before;
  const bool was_active = before.time < 0 || before.is_active;
  if (before.time >= 0 && before.is_active) {
    const double seconds = now.time - before.time;
    active_s_ += seconds;
    if (before.allocated < before.requested) short_s_ += seconds;
    if (before.allocated < before.requested_corrected) short_corrected_s_ += seconds;
  }
  if (was_active && !now.is_active) ++shutdowns_;
  trail.before = now;
}

void CloudsimMeter::settle(Trail<VmState>& trail) {
  const VmState& now = trail.standing;
  if (now.time < 0) return;
  const VmState& before = trail.before;
  if (before.time >= 0) {
    const double seconds = now.time - before.time;
    allocated_ += before.allocated * seconds;
    requested_ += before.requested * seconds;
    if (before.allocated < before.requested) {
      const double missing = before.requested - before.allocated;
      shortfalls_ += missing / before.requested;
      ++shortfall_count_;
      if (before.is_migrating) missed_migrating_ += missing * seconds;
    }
  }
  trail.before = now;
}

void CloudsimMeter::host(size_t host, const HostState& state) {
  auto& trail = hosts_[host];
  if (trail.standing.time != state.time) settle(trail);
  trail.standing = state;
}

void CloudsimMeter::vm(size_t vm, const VmState& state) {
  auto& trail = vms_[vm];
  if (trail.standing.time != state.time) settle(trail);
  trail.standing = state;
}

void CloudsimMeter::finish() {
  for (auto& trail : hosts_) settle(trail);
  for (auto& trail : vms_) settle(trail);
}

SlaFigures CloudsimMeter::figures() const {
  SlaFigures figures;
  if (active_s_ > 0) {
    figures.slatah = short_s_ / active_s_;
    figures.slatah_corrected = short_corrected_s_ / active_s_;
  }
  if (requested_ > 0) {
    figures.pdm = missed_migrating_ / requested_;
    figures.unserved = (requested_ - allocated_) / requested_;
  }
  if (shortfall_count_ > 0) figures.average = shortfalls_ / static_cast<double>(shortfall_count_);
  return figures;
}

}  // namespace forerun::place
