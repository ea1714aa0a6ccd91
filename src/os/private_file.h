// Files with secrets.
#pragma once

#include <string>

#include "core/bytes.h"
#include "core/result.h"

namespace forerun::os {

// Writes a file that only its owner may read, durably. ERRORS: kExists: there is one; it is left
// alone.
Status write_new_private_file(const std::string& path, ByteView data);

}  // namespace forerun::os
