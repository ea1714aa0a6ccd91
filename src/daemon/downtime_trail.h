// Where the time went in which a guest that moved stood still: the steps between its stop here and
// its run at the other host, one after the other.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/time.h"

namespace forerun::daemon {

// Returns a length that another host tells; what is over an hour cannot be, and counts as one.
Nanos told_length(uint64_t us);

struct DowntimeStep {
  std::string name;
  Nanos took{};
  bool operator==(const DowntimeStep&) const = default;
};

// One thread. All moments are of one clock, this host's: what the other host tells are lengths, and
// the way of a word between the two is taken for as long there as back.
class DowntimeTrail {
 public:
  // The guest stopped; what was noted before is forgotten.
  void begin(Time stopped);
  bool has_begun() const { return began_ != Time{}; }
  // The step that followed the last one ended. One that is said to have ended before that took no
  // time.
  void end_step(std::string_view name, Time at);
  // The other host was told at `sent` that the disk is frozen. It had the guest's devices loaded
  // `loaded` later, knew what of the disk it lacks after `disk_known`, and its word that it is
  // ready came at `heard`. Steps "load", "disk", "ready".
  void on_ready(Time sent, Nanos loaded, Nanos disk_known, Time heard);
  // It was told at `sent` to run the guest, which took it `took`, and its word of it came at
  // `heard`. Step "run".
  void on_running(Time sent, Nanos took, Time heard);

  const std::vector<DowntimeStep>& steps() const { return steps_; }
  // Returns them for people, in ms: "stop 2.1, notice 0.4, …".
  std::string text() const;
  Time stopped() const { return began_; }
  Time last() const { return last_; }  // the end of the last step

 private:
  Time began_{}, last_{};
  std::vector<DowntimeStep> steps_;
};

}  // namespace forerun::daemon
