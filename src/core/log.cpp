#include "core/log.h"

#include <fmt/chrono.h>

#include <atomic>
#include <cstdio>
#include <ctime>

namespace forerun::log {
namespace {
std::atomic<Level> threshold{Level::kInfo};
constexpr std::string_view kNames[] = {"debug", "info", "warn", "error"};
}  // namespace

void set_level(Level level) { threshold.store(level, std::memory_order_relaxed); }
bool enabled(Level level) { return level >= threshold.load(std::memory_order_relaxed); }

void write(Level level, std::string_view message) {
  const std::time_t now = std::time(nullptr);
  const std::string line = fmt::format("{:%Y-%m-%dT%H:%M:%SZ} {:<5} {}\n", fmt::gmtime(now),
                                       kNames[static_cast<int>(level)], message);
  std::fwrite(line.data(), 1, line.size(), stderr);
}

}  // namespace forerun::log
