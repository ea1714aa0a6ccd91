#include "daemon/vm_stats.h"

#include <algorithm>

namespace forerun::daemon {
namespace {

std::string word_of(Foresight::Phase phase) {
  return phase == Foresight::Phase::kBoot ? "boot" : "work";
}

// Returns the seconds from `then` to `now`; below 0 if it never was.
double age(Time then, Time now) { return then == Time{} ? -1 : to_seconds(now - then); }

void add_tally(const score::ModelTally& tally, api::ModelStats& model) {
  model.issued_chunks = tally.issued.chunks;
  model.used_chunks = tally.hit.chunks;
  model.late_chunks = tally.late.chunks;
  model.wasted_chunks = tally.wasted.chunks;
  model.cancelled_chunks = tally.cancelled.chunks;
  model.undecided_chunks = tally.undecided().chunks;
  model.issued_bytes = tally.issued.bytes;
  model.used_bytes = tally.hit.bytes;
  model.late_bytes = tally.late.bytes;
  model.wasted_bytes = tally.wasted.bytes;
}

}  // namespace

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
  stats.prefetch_earned_bytes = reading.prefetch.earned_bytes;
  stats.prefetch_useful_ratio = reading.prefetch.usefulness;
  if (!reading.models.empty()) stats.phase = word_of(reading.phase);
  stats.phase_seconds = to_seconds(reading.in_phase);
  for (const Foresight::ModelReading& one : reading.models) {
    const predict::ModelReport& report = one.report;
    api::ModelStats model;
    model.name = report.name;
    model.phase = word_of(one.phase);
    model.said_blocks = report.said;
    model.came_true_blocks = report.came_true;
    model.calibration_gap_ratio = report.calibration_gap;
    model.muted = report.muted;
    model.muted_changed_seconds = age(report.muted_changed_at, reading.at);
    model.times_muted = report.times_muted;
    model.proposals_true_ratio = report.proposals_true;
    model.phase_changes = report.phase_changes;
    model.phase_changed_seconds = age(report.phase_changed_at, reading.at);
    model.state_bytes = report.state_bytes;
    for (const auto& bin : report.bins) model.bins.push_back({bin.said, bin.happened, bin.count});
    if (one.tally) add_tally(*one.tally, model);
    stats.models.push_back(std::move(model));
  }
}

}  // namespace forerun::daemon
