// Plans as people read them.
#pragma once

#include <string>
#include <string_view>

#include "core/result.h"

namespace forerun::cli {

// Returns what a person sees of a plan (docs/plan.md). `is_brief`: without what was rejected.
// ERRORS: kCorrupt.
Result<std::string> plan_text(std::string_view answer, bool is_brief);

// Returns what a person sees of the moves of a VM (…/plan/moves/NAME). ERRORS: kCorrupt.
Result<std::string> moves_text(std::string_view answer, const std::string& vm);

}  // namespace forerun::cli
