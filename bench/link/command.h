// What an operator tells the link: rates, delays, and the lines of the control socket.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/result.h"
#include "core/time.h"

namespace forerun::link {

// "20mbit", "1.5gbit", "800kbit", "none" (unlimited). Returns bytes per second.
Result<uint64_t> parse_rate(std::string_view text);
// "10ms", "250us", "1.5s", "0". Returns at most an hour.
Result<Nanos> parse_delay(std::string_view text);

struct Command {
  enum class Kind { kCut, kHeal, kReset, kStats, kRate, kDelay };
  Kind kind = Kind::kStats;
  uint64_t rate_bytes_per_s = 0;  // kRate
  Nanos delay{};                  // kDelay
};
// cut | heal | reset | stats | rate R | delay D
Result<Command> parse_command(std::string_view line);

}  // namespace forerun::link
