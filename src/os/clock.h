// The system's clocks. The only place that reads them.
#pragma once

#include <string>

#include "core/time.h"

namespace forerun::os {

// CLOCK_MONOTONIC. Thread-safe.
class SystemClock final : public Clock {
 public:
  Time now() const override;
};

// Returns seconds since the epoch, and the same as RFC 3339 in UTC: "2026-11-21T02:40:00Z".
int64_t unix_seconds();
std::string utc_now();
std::string format_utc(int64_t unix_seconds);

}  // namespace forerun::os
