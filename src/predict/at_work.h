// How a disk is foreseen once its guest is at work (docs/decisions/0019, 0020): the models and the
// options of their arbiter, in one place for the daemon and for `forerun replay`.
#pragma once

#include <span>
#include <string_view>

#include "predict/arbiter.h"

namespace forerun::predict {

// Returns the names of the models that speak then, unless others are named.
std::span<const std::string_view> work_model_names();
// Returns the options of their arbiter; `is_here` and `bytes_of` are the caller's to set.
Arbiter::Options work_options();

}  // namespace forerun::predict
