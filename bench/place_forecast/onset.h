// Onset of overload on hosts of twenty PlanetLab VMs.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "trace/vm_trace.h"

struct OnsetScore {
  double average_precision = 0, base = 0;
  double average_precision_smoothed = 0;           // of an exponentially weighted mean as the score
  double average_precision_all = 0, base_all = 0;  // over nine shuffles a day: less chance
  struct Day {
    double average_precision = 0, base = 0;
  };
  std::vector<Day> days;
  size_t count = 0;
};

// Hosts: twenty random VMs of random types on 5320 MIPS, from sample 24 of the day on; three
// shuffles a day are tested. Each day is foreseen by what was learned on the others, in nine
// shuffles and from their VMs. REQUIRES: two days or more, and onsets in them.
OnsetScore score_onset(std::span<const forerun::trace::VmTrace> days);
