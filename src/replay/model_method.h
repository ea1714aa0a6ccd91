// The daemon's own models behind its arbiter, as a method of the replay.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "replay/block_method.h"

namespace forerun::replay {

// Returns the arbiter over these models (predict/registry.h), as for disks at work, named `name`.
// REQUIRES: the models exist.
std::unique_ptr<BlockMethod> make_model_method(std::string_view name,
                                               const std::vector<std::string>& models,
                                               uint32_t block_bytes);
// Returns the arbiter over one model, named as it is.
std::unique_ptr<BlockMethod> make_model_method(std::string_view model, uint32_t block_bytes);
// Returns the models and the arbiter that boots are foreseen with, named "boot".
std::unique_ptr<BlockMethod> make_boot_method(uint32_t block_bytes);

}  // namespace forerun::replay
