// Policies of the simulator, by name.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "place/sim_world.h"

namespace forerun::place {

std::vector<std::string_view> policy_names();
// Returns null if there is no such policy. Besides policy_names(): forerun@LOAD, which keeps hosts
// at an expected load of LOAD instead of 0.79, and what make_reference_policy() knows. `seed` is
// for those that choose by chance.
std::unique_ptr<SimPolicy> make_policy(std::string_view name, uint64_t seed = 1);

}  // namespace forerun::place
