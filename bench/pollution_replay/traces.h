// What the VMs of the benchmark read: recorded disks, Zipf, and what hostile VMs do.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/id.h"
#include "core/result.h"

namespace forerun::pollution {

// One access of a VM to one chunk of its image.
struct ChunkAccess {
  uint32_t chunk = 0;
  bool is_write = false;  // of a part of the chunk, which must be here for it
};

struct Vm {
  std::string name;
  std::string tenant;  // empty: of its own
  ComponentId image;   // VMs of one image share its chunks
  bool is_honest = true;
  double begins = 0;                  // share of the run's time
  std::vector<ChunkAccess> accesses;  // spread evenly over the rest of it
};

// Returns the first accesses of a block trace, in chunks; repeated ones of one chunk are one.
Result<std::vector<ChunkAccess>> load_trace(const std::string& path, size_t accesses_max);
std::vector<ChunkAccess> zipf(uint32_t chunks, double exponent, size_t count, uint64_t seed);
// Returns the VMs of a hostile behaviour, with `count` accesses together, against a tier of
// `tier_chunks`. ERRORS: kNotFound: no such behaviour.
Result<std::vector<Vm>> hostile(const std::string& behaviour, uint32_t first_image, size_t count,
                                uint32_t tier_chunks);

}  // namespace forerun::pollution
