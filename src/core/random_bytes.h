// Bytes that do not compress, the same for the same seed: for tests and benchmarks.
#pragma once

#include "core/bytes.h"
#include "core/rng.h"

namespace forerun {

inline Buffer random_bytes(size_t size, uint64_t seed) {
  Rng rng(seed);
  Buffer bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(rng.next());
  return bytes;
}

}  // namespace forerun
