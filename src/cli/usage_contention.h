// Whether VMs of a host will wait for its CPUs, from what is kept: for `forerun usage forecast OF
// contention`.
#pragma once

#include <array>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "forecast/contention.h"

namespace forerun::cli {

using UsagePoints = std::vector<std::array<double, 3>>;  // unix time, mean, most

// Points of 5 min, in the order of time.
struct ContentionPast {
  UsagePoints demand, capacity;  // of the host, in cores
  UsagePoints vcpu_wait;         // of the host, or of the VM that is asked for
  UsagePoints cpu_stall;         // of the host; empty for a VM
};

struct ContentionReport {
  size_t ticks = 0, labelled = 0, contended = 0;
  double capacity = 0;
  std::vector<uint32_t> minutes;  // of each horizon
  std::vector<forecast::ContentionOutlook> outlooks;
  std::vector<forecast::ContentionScore> scores;
};

// ERRORS: kNotFound: fewer than two points of demand or none of capacity; kTooLarge.
Result<ContentionReport> forecast_contention(const ContentionPast& past);
std::string contention_table(const ContentionReport& report, const std::string& of);
std::string contention_json(const ContentionReport& report);

}  // namespace forerun::cli
