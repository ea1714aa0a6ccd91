// forerun vm profile: what a VM's agent says of its guest.
#pragma once

#include <string>

#include "cli/context.h"

namespace forerun::cli {

Result<int> vm_profile(const Context& context, const std::string& name);

// Returns what a person sees of an answer of …/profile. ERRORS: kCorrupt.
Result<std::string> vm_profile_text(std::string_view answer);

}  // namespace forerun::cli
