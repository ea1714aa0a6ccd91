// Policies of the simulator, by name.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "place/sim_world.h"

namespace forerun::place {

std::vector<std::string_view> policy_names();
// Returns null if there is no such policy. `seed` is for those that choose by chance.
std::unique_ptr<SimPolicy> make_policy(std::string_view name, uint64_t seed = 1);

}  // namespace forerun::place
