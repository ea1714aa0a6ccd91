// How launches that are expected look to people.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"

namespace forerun::cli {

// Returns the daemon's answer about launches as text. ERRORS: kCorrupt if it is no JSON object.
Result<std::string> launches_text(std::string_view answer);

}  // namespace forerun::cli
