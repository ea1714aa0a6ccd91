// forerun vm stats: what a VM waited for, and what was foreseen.
#pragma once

#include <string>

#include "cli/context.h"

namespace forerun::cli {

Result<int> vm_stats(const Context& context, const std::string& name, bool watch);

// Return what a person sees of an answer of …/stats and of /host. ERRORS: kCorrupt.
Result<std::string> vm_stats_text(std::string_view answer, bool ascii);
Result<std::string> models_text(std::string_view answer);
Result<std::string> host_stats_text(std::string_view answer);

}  // namespace forerun::cli
