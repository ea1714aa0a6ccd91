// A virtual disk's sorted extents, each pointing at component data; what no extent covers is
// zeroes. An extent may point at data that has not arrived yet.
//
// Made for a million extents: 16.3 bytes for each, the components once in a table of their own, and
// extent_search.h to find where a read begins.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/id.h"
#include "core/result.h"
#include "image/extent_search.h"
#include "repository/image_index.h"

namespace forerun::image {

// A component as a disk uses it. Immutable, shared between the disks that hold it.
struct Component {
  ComponentId id;  // this process's number for it
  Digest digest;   // of its index: its name everywhere else
  repository::ImageIndex index;
};
using ComponentPtr = std::shared_ptr<const Component>;

struct Extent {
  ByteRange range;                // on the virtual disk
  ComponentPtr component;         // null: zeroes
  uint64_t component_offset = 0;  // where range.offset lies in the component
};

// One piece of one chunk, or zeroes (chunk.is_zero()), in a look-up's answer.
struct Piece {
  ByteRange range;  // on the virtual disk
  repository::ChunkRef chunk;
  uint32_t offset_in_chunk = 0;
  ComponentId component;     // valid if not zero-by-extent
  uint64_t chunk_index = 0;  // in the component
};

// What stands at one byte of a disk, and at those that follow it.
struct Location {
  const Component* component = nullptr;  // null: zeroes; lives as long as the table
  uint64_t component_offset = 0;
  uint64_t length = 0;  // up to the end of the extent or of the gap
};

// Immutable after construction; thread-safe.
class MappingTable {
 public:
  static constexpr uint64_t kSizeMax = uint64_t{1} << 62;
  static constexpr size_t kExtentsMax = 64'000'000;
  static constexpr size_t kComponentsMax = 65'536;

  // Returns the table of a disk of `size_bytes` whose extents are `extents`. Gaps are zeroes.
  // ERRORS: kInvalid: extents overlap, are unsorted, pass the disk's end or their component's end.
  // kTooLarge: over a limit above.
  static Result<MappingTable> create(uint64_t size_bytes, std::vector<Extent> extents);
  // Returns the table of a disk that is `component` from its first byte to its last.
  static MappingTable whole(ComponentPtr component);

  // Returns the table of a larger disk: behind this one's end it is zeroes. REQUIRES: size_bytes is
  // this one's at least and kSizeMax at most.
  MappingTable grown(uint64_t size_bytes) const;

  uint64_t size_bytes() const { return size_bytes_; }
  // Returns the extents of data in order, with those that continue each other joined.
  std::vector<Extent> extents() const;
  // Returns each component of the disk once, in order of first use.
  const std::vector<ComponentPtr>& components() const { return components_; }
  // Appends the pieces that make up `range`, in order, to `pieces`. REQUIRES: fits(range,
  // size_bytes()).
  void look_up(ByteRange range, std::vector<Piece>& pieces) const;

  // Returns what stands at `offset`. REQUIRES: offset < size_bytes().
  Location locate(uint64_t offset) const;
  // The same for many offsets that do not depend on each other, several times faster.
  // REQUIRES: found.size() == offsets.size().
  void locate(std::span<const uint64_t> offsets, std::span<Location> found) const;

  // Of the table itself, without its components: 16.3 bytes per part, 20.3 if extents begin at odd
  // bytes of a disk over 2 GiB, and up to 1 KiB.
  size_t memory_bytes() const;

 private:
  // A part is an extent, or 2 GiB of a longer one. Where it begins is in starts_.
  static constexpr uint64_t kPartBytesMax = uint64_t{1} << 31;
  static constexpr uint64_t kComponentOffsetMax = (uint64_t{1} << 48) - 1;
  struct Part {
    uint32_t length = 0;
    uint32_t offset_low = 0;  // in the component
    uint16_t offset_high = 0;
    uint16_t component = 0;  // in components_

    uint64_t component_offset() const { return uint64_t{offset_high} << 32 | offset_low; }
  };
  static_assert(sizeof(Part) == 12);

  class Builder;
  // Returns where `offset` lies, given how many parts begin at or before it.
  Location locate(uint64_t offset, size_t rank) const;
  void append_pieces(const Part& part, uint64_t offset_in_part, ByteRange range,
                     std::vector<Piece>& pieces) const;

  uint64_t size_bytes_ = 0;
  ExtentSearch starts_;
  std::vector<Part> parts_;
  std::vector<ComponentPtr> components_;
};

}  // namespace forerun::image
