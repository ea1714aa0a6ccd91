// Policies of the simulator, by name.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "place/cloudsim_world.h"

namespace forerun::place {

std::vector<std::string_view> policy_names();
// Returns null if there is no such policy.
std::unique_ptr<SimPolicy> make_policy(std::string_view name);

}  // namespace forerun::place
