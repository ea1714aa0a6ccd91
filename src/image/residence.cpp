#include "image/residence.h"

#include <algorithm>
#include <optional>
#include <unordered_map>

namespace forerun::image {

using repository::ChunkRef;
using repository::kChunkSize;

namespace {

// Asks where a chunk is, but not twice in a row: small files share chunks.
class Asker {
 public:
  explicit Asker(const WhereIs& where_is) : where_is_(where_is) {}

  void add(const Extent& extent, Residence& sum) {
    const uint64_t end = extent.component_offset + extent.range.length;
    for (uint64_t at = extent.component_offset; at < end;) {
      const uint64_t number = at / kChunkSize;
      const uint64_t next = std::min(end, (number + 1) * kChunkSize);
      add(extent.component->index.chunks[number], next - at, sum);
      at = next;
    }
  }

 private:
  void add(const ChunkRef& chunk, uint64_t bytes, Residence& sum) {
    if (chunk.is_zero()) {
      sum.zero_bytes += bytes;
      return;
    }
    if (!last_ || *last_ != chunk.id) {
      place_ = where_is_(chunk.id);
      last_ = chunk.id;
    }
    switch (place_) {
      case Place::kMemory:
        sum.memory_bytes += bytes;
        break;
      case Place::kTierFile:
        sum.tier_file_bytes += bytes;
        break;
      case Place::kRemote:
        sum.remote_bytes += bytes;
        break;
    }
  }

  const WhereIs& where_is_;
  std::optional<ChunkId> last_;
  Place place_ = Place::kRemote;
};

void add(const Residence& more, Residence& sum) {
  sum.memory_bytes += more.memory_bytes;
  sum.tier_file_bytes += more.tier_file_bytes;
  sum.remote_bytes += more.remote_bytes;
  sum.zero_bytes += more.zero_bytes;
}

}  // namespace

Residence residence_of(const Extent& extent, const WhereIs& where_is) {
  Residence residence;
  Asker(where_is).add(extent, residence);
  return residence;
}

std::vector<ExtentResidence> residence_of(const MappingTable& table, ByteRange range,
                                          const WhereIs& where_is) {
  Asker asker(where_is);
  std::vector<ExtentResidence> extents;
  for (Extent& extent : table.extents()) {
    if (!extent.range.overlaps(range)) continue;
    extents.push_back({std::move(extent), {}});
    asker.add(extents.back().extent, extents.back().residence);
  }
  return extents;
}

DiskResidence residence_of(const MappingTable& table, const WhereIs& where_is) {
  DiskResidence disk;
  std::unordered_map<const Component*, size_t> numbers;
  for (const ComponentPtr& component : table.components()) {
    numbers.emplace(component.get(), disk.components.size());
    disk.components.push_back({.component = component});
  }
  Asker asker(where_is);
  for (const Extent& extent : table.extents()) {
    ComponentResidence& component = disk.components[numbers.at(extent.component.get())];
    ++component.extent_count;
    asker.add(extent, component.residence);
  }
  for (const ComponentResidence& component : disk.components)
    add(component.residence, disk.residence);
  disk.gap_bytes = table.size_bytes() - disk.residence.bytes();
  return disk;
}

}  // namespace forerun::image
