#include "os/clock.h"

#include <fmt/chrono.h>

#include <ctime>

namespace forerun::os {

Time SystemClock::now() const {
  timespec value{};
  ::clock_gettime(CLOCK_MONOTONIC, &value);
  return Time{std::chrono::seconds(value.tv_sec) + Nanos(value.tv_nsec)};
}

int64_t unix_seconds() { return std::time(nullptr); }

std::string format_utc(int64_t unix_seconds) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(unix_seconds)));
}

std::string utc_now() { return format_utc(unix_seconds()); }

}  // namespace forerun::os
