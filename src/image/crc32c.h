// CRC-32C (Castagnoli), as ext4's metadata checksums use it: without inversion at either end.
#pragma once

#include <cstdint>

#include "core/bytes.h"

namespace forerun::image {

// Returns the checksum of what `seed` is the checksum of, followed by `data`. By the
// processor's instruction where there is one.
uint32_t crc32c(uint32_t seed, ByteView data);

}  // namespace forerun::image
