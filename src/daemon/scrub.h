// What a build leaves behind that says something of the builder, or that each VM must have its own:
// never part of a component.
#pragma once

#include <string_view>

namespace forerun::daemon {

// Returns whether what stands at `path` ("etc/hostname") stays out of a component that was built.
// Folders that programs expect (of logs and caches) are kept, empty. An empty etc/machine-id, which
// says that there is none yet, belongs into a base: `is_base`.
bool is_scrubbed(std::string_view path, bool is_folder, bool is_base);

}  // namespace forerun::daemon
