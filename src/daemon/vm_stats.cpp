#include "daemon/vm_stats.h"

#include <algorithm>

namespace forerun::daemon {

void add_prefetching(const Foresight::Reading& reading, api::VmStats& stats) {
  stats.issued_chunks = reading.prefetch.issued;
  stats.hit_chunks = reading.prefetch.hit;
  stats.late_chunks = reading.prefetch.late;
  stats.wasted_chunks = reading.prefetch.wasted;
  stats.undecided_chunks = reading.prefetch.undecided;
  stats.prefetch_fetched_bytes = reading.prefetch.issued_bytes;
  stats.wasted_bytes = reading.prefetch.wasted_bytes;
  // A late chunk was waited for, but its bytes are the prefetch's.
  stats.demand_fetched_bytes -= std::min(stats.demand_fetched_bytes, reading.prefetch.late_bytes);
  stats.prefetch_budget_bytes = reading.prefetch.budget_bytes;
  for (size_t i = 0; i < reading.models.size(); ++i) {
    const predict::ModelReport& report = reading.models[i];
    api::ModelStats model;
    model.name = report.name;
    model.said_blocks = report.said;
    model.came_true_blocks = report.came_true;
    model.calibration_gap_ratio = report.calibration_gap;
    model.muted = report.muted;
    for (const auto& bin : report.bins) model.bins.push_back({bin.said, bin.happened, bin.count});
    if (i < reading.tallies.size()) {
      model.issued_chunks = reading.tallies[i].issued.chunks;
      model.used_chunks = reading.tallies[i].hit.chunks;
      model.late_chunks = reading.tallies[i].late.chunks;
      model.wasted_chunks = reading.tallies[i].wasted.chunks;
    }
    stats.models.push_back(std::move(model));
  }
}

}  // namespace forerun::daemon
