// A composed disk as an object: which components, and where each of their parts stands. Immutable;
// named by the SHA-256 of its serialised bytes: compositions/<sha256>. A VM keeps the composition
// it began with, whatever its manifest's names mean later. Format: docs/format_composition.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/id.h"
#include "core/result.h"

namespace forerun::image {

struct CompositionPart {
  enum class Kind : uint8_t {
    kIndex = 0,      // an image index: generated metadata, or a whole disk
    kComponent = 1,  // the data of a component's index
  };
  Kind kind = Kind::kIndex;
  Digest digest;     // of indexes/… or components/…
  std::string name;  // what it was called: for people
  bool operator==(const CompositionPart&) const = default;
};

struct CompositionExtent {
  ByteRange range;           // on the disk
  uint32_t part = 0;         // index into parts
  uint64_t part_offset = 0;  // where range.offset lies in the part's data
  bool operator==(const CompositionExtent&) const = default;
};

struct Composition {
  uint64_t size_bytes = 0;
  Digest manifest;  // of what it was made from
  std::vector<CompositionPart> parts;
  std::vector<CompositionExtent> extents;  // sorted, apart; what none covers is zeroes
  bool operator==(const Composition&) const = default;
};

inline constexpr size_t kCompositionBytesMax = 64 * 1024 * 1024;
inline constexpr size_t kCompositionPartsMax = 256;

// Returns the one serialised form. REQUIRES: as parse_composition would accept it.
Buffer serialize(const Composition& composition);
// Returns the composition in `data`, which comes from outside. That extents lie within their parts
// is known only with these: MappingTable::create checks it. ERRORS: kCorrupt, kUnsupported (a newer
// version), kTooLarge.
Result<Composition> parse_composition(ByteView data);

std::string composition_path(const Digest& digest);
// Returns the path of what `part` is of.
std::string object_path(const CompositionPart& part);
// Where it is noted what a pinned manifest became, by this version of what composes: the tag that
// it got.
std::string composed_path(const Digest& manifest);

}  // namespace forerun::image
