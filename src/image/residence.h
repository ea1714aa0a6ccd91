// Where the data of a disk is now: in memory, in the tier's file, or only in the repository; per
// extent, per component, and for the whole disk. For `image show`, and for deciding what to fetch.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "core/id.h"
#include "image/mapping_table.h"

namespace forerun::image {

// Where one chunk is, the nearest place first.
enum class Place : uint8_t { kMemory, kTierFile, kRemote };
using WhereIs = std::function<Place(const ChunkId&)>;

struct Residence {
  uint64_t memory_bytes = 0;
  uint64_t tier_file_bytes = 0;
  uint64_t remote_bytes = 0;
  uint64_t zero_bytes = 0;  // chunks of zeroes: stored nowhere

  uint64_t bytes() const { return memory_bytes + tier_file_bytes + remote_bytes + zero_bytes; }
  bool operator==(const Residence&) const = default;
};

struct ExtentResidence {
  Extent extent;
  Residence residence;
};

struct ComponentResidence {
  ComponentPtr component;
  uint64_t extent_count = 0;
  Residence residence;  // of what the disk shows of it; bytes that it shows twice count twice
};

struct DiskResidence {
  std::vector<ComponentResidence> components;  // as MappingTable::components()
  Residence residence;                         // of all of them
  uint64_t gap_bytes = 0;                      // what no extent covers
};

// Returns where the data of `extent` is, in bytes of the disk. Asks `where_is` once for each chunk
// it touches. REQUIRES: it is one of a MappingTable's extents().
Residence residence_of(const Extent& extent, const WhereIs& where_is);
// Returns each extent of `range` (whole extents) and where its data is, in order.
std::vector<ExtentResidence> residence_of(const MappingTable& table, ByteRange range,
                                          const WhereIs& where_is);
// Returns where the data of the whole disk is.
DiskResidence residence_of(const MappingTable& table, const WhereIs& where_is);

}  // namespace forerun::image
