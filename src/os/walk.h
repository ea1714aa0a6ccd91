// Folders and all that is in them.
#pragma once

#include <string>

#include "core/result.h"

namespace forerun::os {

// Removes a file or a folder with all that is in it; nothing happens if there is none. Follows no
// link and leaves other file systems that are mounted in it alone. ERRORS: kIo, kDenied.
Status remove_tree(const std::string& path);

}  // namespace forerun::os
