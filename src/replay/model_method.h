// The daemon's own models behind its arbiter, as a method of the replay.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "replay/block_method.h"

namespace forerun::replay {

// Returns the arbiter over these models (predict/registry.h), named `name`.
// REQUIRES: the models exist.
std::unique_ptr<BlockMethod> make_model_method(std::string_view name,
                                               const std::vector<std::string>& models);
// Returns the arbiter over one model, named as it is.
std::unique_ptr<BlockMethod> make_model_method(std::string_view model);

}  // namespace forerun::replay
