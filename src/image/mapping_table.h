// A virtual disk's sorted extents, each pointing at component data or zeroes. An extent may point
// at data that has not arrived yet. Today a disk is one whole-image component; composed disks come
// with more.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/id.h"
#include "core/result.h"
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

// Immutable after construction; thread-safe.
class MappingTable {
 public:
  // Returns the table of a disk of `size_bytes` whose extents are `extents`. Gaps are zeroes.
  // ERRORS: kInvalid: extents overlap, are unsorted, pass the disk's end or their component's end.
  static Result<MappingTable> create(uint64_t size_bytes, std::vector<Extent> extents);
  // Returns the table of a disk that is `component` from its first byte to its last.
  static MappingTable whole(ComponentPtr component);

  uint64_t size_bytes() const { return size_bytes_; }
  const std::vector<Extent>& extents() const { return extents_; }
  // Appends the pieces that make up `range`, in order, to `pieces`. REQUIRES: fits(range,
  // size_bytes()).
  void look_up(ByteRange range, std::vector<Piece>& pieces) const;

 private:
  uint64_t size_bytes_ = 0;
  std::vector<Extent> extents_;
};

}  // namespace forerun::image
