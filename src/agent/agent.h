// The agent: one profile a period, within a budget of CPU time, whatever the host does.
#pragma once

#include <optional>
#include <string>

#include "agent/counters.h"
#include "agent/page_watch.h"
#include "telemetry/control.h"

namespace forerun::agent {

struct AgentOptions {
  std::string root;  // of /proc and /sys; not empty: recorded ones, and no page is watched
  uint64_t period_ms = 1000;
  double cpu_budget_ratio = 0.005;   // of one core
  double harm_budget_ratio = 0.005;  // of the watched process's time
};

// One thread. Reads no clock: time and its own CPU time are passed in.
class Agent {
 public:
  Agent(AgentOptions options, std::string instance, PageSources sources);

  // Returns the profile of the time since the last call; none the first time.
  std::optional<telemetry::Profile> tick(Time now, Nanos cpu_used);
  // Takes a line of the host. ERRORS: parse_control's; nothing changes then.
  Status obey(std::string_view line);
  void note_unsent() { ++unsent_; }
  // Returns how long until the next tick: what was asked for, or more if that costs too much.
  Nanos period() const;

 private:
  void watch_pages(Time now, Nanos cpu_used, telemetry::Profile& profile);
  std::optional<PageWatch::Target> pick_target();
  void say_what_is_missing(telemetry::Profile& profile) const;

  AgentOptions options_;
  std::string instance_;
  telemetry::Metrics metrics_;
  PageWatch watch_;
  std::optional<Counters> before_, now_;
  Nanos cpu_before_{};
  double tick_cost_s_ = 0;    // of a tick without pages, smoothed
  double window_cost_s_ = 0;  // of a window of pages, of the last one
  double allowance_s_ = 0;    // CPU time saved up for windows
  Time windows_not_before_{};
  std::string why_no_window_;
  uint64_t sequence_ = 0, unsent_ = 0;
};

}  // namespace forerun::agent
