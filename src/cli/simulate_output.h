// What `forerun simulate` says: table, JSON, and a page with pictures.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "place/sim_world.h"

namespace forerun::cli {

struct SimulatedRun {
  std::string policy;
  place::SimResult result;
};

// One trace.
struct SimulatedTrace {
  std::string name;
  size_t vms = 0, left_out = 0;
  int hosts = 0;
  uint32_t interval_s = 300;
  std::vector<SimulatedRun> runs;
};

struct Simulated {
  std::string model;
  bool is_fleet = false;  // the model forerun; else cloudsim4
  bool keeps_idle = false;
  uint64_t seed = 1;
  std::vector<SimulatedTrace> traces;
};

std::string simulated_table(const Simulated& simulated);
std::string simulated_json(const Simulated& simulated);
// Returns a page of HTML that needs nothing else: per trace the table, hosts on, moves and demand
// not met over time, and energy against demand not met.
std::string simulated_page(const Simulated& simulated);

}  // namespace forerun::cli
