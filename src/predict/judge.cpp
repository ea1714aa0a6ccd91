#include "predict/judge.h"

namespace forerun::predict {

ModelReport report_of(std::string name, const score::Reliability& reliability) {
  ModelReport report{.name = std::move(name),
                     .said = reliability.count(),
                     .came_true = reliability.happened(),
                     .calibration_gap = static_cast<float>(reliability.gap())};
  for (const auto& bin : reliability.bins())
    report.bins.push_back(
        {static_cast<float>(bin.said), static_cast<float>(bin.happened), bin.count});
  return report;
}

ModelReport report_of(const Model& model, const Judge& judge) {
  ModelReport report = report_of(std::string(model.name()), judge.reliability);
  report.muted = judge.gate.muted();
  report.muted_changed_at = judge.muted_changed_at;
  report.times_muted = judge.times_muted;
  report.proposals_true = static_cast<float>(judge.gate.share());
  if (judge.phase) report.phase_changes = judge.phase->changes();
  report.phase_changed_at = judge.phase_changed_at;
  report.state_bytes = model.state_bytes() + judge.calibration.state_bytes();
  return report;
}

}  // namespace forerun::predict
