// forerun vm profile: what a VM's agent says of its guest, and what is asked of it.
#pragma once

#include <string>
#include <vector>

#include "cli/context.h"

namespace forerun::cli {

struct ProfileArguments {
  std::string name;
  std::string period;                // "500ms"; empty: as it is
  std::vector<std::string> metrics;  // empty: as they are; "all": all
};
// Shows the profile, after asking the agent for what the arguments name.
Result<int> vm_profile(const Context& context, const ProfileArguments& arguments);

// Returns the body that asks for it. ERRORS: kInvalid.
Result<std::string> profile_request(const ProfileArguments& arguments);

// Returns what a person sees of an answer of …/profile. ERRORS: kCorrupt.
Result<std::string> vm_profile_text(std::string_view answer);

}  // namespace forerun::cli
