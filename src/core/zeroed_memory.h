// Memory for what is written here and there and given back as a whole: zeroes, in huge pages where
// the kernel has them, so that 20 MB cost ten page faults instead of five thousand.
#pragma once

#include <cstddef>
#include <vector>

#include "core/bytes.h"

namespace forerun {

// Not thread-safe while it allocates.
class ZeroedMemory {
 public:
  static constexpr size_t kSlabBytes = 2 * kMiB;  // a huge page, on x86-64 and most of arm64

  ZeroedMemory() = default;
  ~ZeroedMemory();
  ZeroedMemory(ZeroedMemory&& other) noexcept;
  ZeroedMemory& operator=(ZeroedMemory&& other) noexcept;

  // Returns `size` zeroes, aligned to their size, which stay where they are. REQUIRES: a power of
  // two, at most kSlabBytes.
  std::byte* allocate(size_t size);

 private:
  std::vector<std::byte*> slabs_;
  size_t used_ = kSlabBytes;  // of the last slab
};

}  // namespace forerun
