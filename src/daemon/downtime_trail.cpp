#include "daemon/downtime_trail.h"

#include <fmt/format.h>

#include <algorithm>

namespace forerun::daemon {

Nanos told_length(uint64_t us) {
  return std::chrono::microseconds(std::min<uint64_t>(us, 3'600'000'000));
}

void DowntimeTrail::begin(Time stopped) {
  began_ = last_ = stopped;
  steps_.clear();
}

void DowntimeTrail::end_step(std::string_view name, Time at) {
  if (!has_begun()) return;
  at = std::max(at, last_);
  steps_.push_back({std::string(name), at - last_});
  last_ = at;
}

void DowntimeTrail::on_ready(Time sent, Nanos loaded, Nanos disk_known, Time heard) {
  const Nanos there = std::max(loaded, disk_known);
  const Nanos way = std::max(heard - sent - there, Nanos::zero()) / 2;
  end_step("load", std::min(sent + way + loaded, heard));
  end_step("disk", std::min(sent + way + there, heard));
  end_step("ready", heard);
}

void DowntimeTrail::on_running(Time sent, Nanos took, Time heard) {
  const Nanos way = std::max(heard - sent - took, Nanos::zero()) / 2;
  end_step("run", heard - way);
}

std::string DowntimeTrail::text() const {
  std::string text;
  for (const DowntimeStep& step : steps_)
    text += fmt::format("{}{} {:.1f}", text.empty() ? "" : ", ", step.name,
                        to_seconds(step.took) * 1000);
  return text;
}

}  // namespace forerun::daemon
