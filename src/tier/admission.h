// How an entry came into the cache.
#pragma once

#include <cstdint>

namespace forerun::tier {

enum class Admission : uint8_t { kDemand, kPrefetch };

}  // namespace forerun::tier
