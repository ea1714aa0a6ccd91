// The profiles of one VM on the host: what came lately, in bounded memory, and what was refused.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "core/time.h"
#include "telemetry/behaviour.h"
#include "telemetry/profile_json.h"

namespace forerun::telemetry {

struct WindowOptions {
  size_t profiles_max = 300;    // of the rolling window: five minutes at one a second
  double lines_per_s_max = 20;  // more are refused unread
  double burst_lines_max = 40;
};

struct ValueSummary {
  double last = 0, mean = 0, min = 0, max = 0;
  uint64_t count = 0;
  bool operator==(const ValueSummary&) const = default;
};

// One thread. Pure: the host's time is passed in. Memory: 144 bytes a profile of the window, and
// the newest profile.
class ProfileWindow {
 public:
  explicit ProfileWindow(WindowOptions options = {}) : options_(options) {}

  // Takes a line of a guest, or refuses it and counts why; never fails. A new instance (the agent
  // or its guest began anew) may begin its clock and its count anew.
  // Returns whether it was taken.
  bool take_line(std::string_view line, Time now);
  // Counts lines that were too long to be put together.
  void note_too_long(uint64_t lines);

  const std::optional<Profile>& newest() const { return newest_; }
  Time newest_at() const { return newest_at_; }
  uint64_t taken() const { return taken_; }
  uint64_t lost() const { return lost_; }  // gaps in the count of the profiles taken
  uint64_t instances() const { return instances_; }
  uint64_t refused(Refusal why) const { return refused_[static_cast<size_t>(why)]; }
  const std::string& last_refusal() const { return last_refusal_; }  // what was wrong, for people
  size_t size() const { return points_.size(); }
  // Returns how long the window reaches back from its newest profile, in the host's time.
  Nanos span() const;
  BehaviourVector behaviour() const {
    return points_.empty() ? BehaviourVector{} : points_.back().vector;
  }
  // Returns what is known of the guest by now: what the newest profile does not say is as an
  // earlier one of the last kSettled said it, and the shares of patterns are the mean of the newest
  // of each of the processes that were watched meanwhile, kWatchedMax at most.
  BehaviourVector settled() const;
  static constexpr Nanos kSettled = std::chrono::seconds(60);
  static constexpr size_t kWatchedMax = 4;
  // Returns the value over the window, of the profiles that know it.
  ValueSummary summary(Behaviour which) const;

 private:
  struct Point {
    Time at{};
    BehaviourVector vector;
    uint32_t watched_pid = 0;  // whose pattern it says; 0: none's
  };
  bool may_read(Time now);
  void refuse(Refused refused);

  WindowOptions options_;
  std::optional<Profile> newest_;
  Time newest_at_{};
  std::deque<Point> points_;
  std::array<uint64_t, kRefusalCount> refused_{};
  std::string last_refusal_;
  uint64_t taken_ = 0, lost_ = 0, instances_ = 0;
  std::optional<Time> filled_at_;
  double tokens_ = 0;
};

}  // namespace forerun::telemetry
