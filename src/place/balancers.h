// Balancers as others run them, for comparison: they look at what is asked for now, and forecast
// nothing. They begin with first fit and switch no host off.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "place/sim_world.h"

namespace forerun::place {

// snapshot, stddev; `seed` is of the hosts that the latter tries. Null: no such balancer.
std::unique_ptr<SimPolicy> make_balancer(std::string_view name, uint64_t seed);
std::vector<std::string_view> balancer_names();

}  // namespace forerun::place
