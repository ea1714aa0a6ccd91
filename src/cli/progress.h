// Shows how long work gets on: a bar on a terminal, a line every 10 s elsewhere, nothing when it is
// asked for as JSON lines (the caller prints those). On stderr.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/time.h"

namespace forerun::cli {

struct ProgressState {
  uint64_t done_bytes = 0;
  uint64_t total_bytes = 0;  // 0: not known
  std::string message;
};

struct Context;

// One thread.
class Progress {
 public:
  enum class Style { kBar, kLines, kNone };
  // Returns how it is shown where the command's talk goes.
  static Style style_for(const Context& context);
  Progress(Style style, Time started) : style_(style), started_(started), last_line_(started) {}

  // Returns what to print now; empty if nothing.
  std::string update(const ProgressState& state, Time now);
  // Returns what ends a bar.
  std::string finish();

 private:
  std::string describe(const ProgressState& state, Time now) const;

  Style style_;
  Time started_;
  Time last_line_;
  bool bar_shown_ = false;
};

}  // namespace forerun::cli
