// The index of an image: which chunk stands at each 64 KiB of the disk. Named by the SHA-256 of its
// serialised bytes. Format: docs/format_index.md.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "repository/chunk.h"
#include "repository/signature.h"

namespace forerun::repository {

// 1 TiB. An index in memory takes 44 bytes per chunk, zeroes too: 704 MiB at this limit, whatever
// its file's size.
inline constexpr uint64_t kImageSizeMax = 1ull << 40;
inline constexpr size_t kIndexBytesMax = 640 * 1024 * 1024;  // what a reader accepts
inline constexpr size_t kTagBytesMax = 4096;
inline constexpr size_t kImageListBytesMax = 8 * 1024 * 1024;

struct ImageIndex {
  uint64_t size_bytes = 0;
  std::vector<ChunkRef> chunks;  // ceil(size_bytes / kChunkSize) of them
  // What the deltas among them are told by: whole chunks, each once, in order. Only the index of a
  // component has deltas (docs/format_component.md); the form below has no place for them.
  std::vector<ChunkRef> bases;

  uint64_t stored_bytes() const;  // sum over distinct chunks
  bool operator==(const ImageIndex&) const = default;
};

inline uint64_t chunk_count(uint64_t size_bytes) {
  return size_bytes / kChunkSize + (size_bytes % kChunkSize != 0);
}

// Returns the one serialised form of `index`, but for what it says of deltas. REQUIRES: as
// parse_index would accept it.
Buffer serialize(const ImageIndex& index);
// Returns the index in `data`, which comes from outside: every count and size is checked before
// use. Accepts only what serialize() writes, so an image has one name. ERRORS: kCorrupt,
// kUnsupported (a newer version), kTooLarge, saying what and where.
Result<ImageIndex> parse_index(ByteView data, uint64_t image_size_max = kImageSizeMax);

// The tag images/<name>.json.
struct ImageTag {
  std::string name;
  Digest index;
  uint64_t size_bytes = 0;
  uint64_t stored_bytes = 0;
  std::string created;  // RFC 3339, UTC
  // Of tag_statement(image_path(name), index, created). Parsed, not checked: check_trust does.
  std::optional<Signature> signature;

  bool operator==(const ImageTag&) const = default;
};
std::string serialize(const ImageTag& tag);
// ERRORS: kCorrupt, kUnsupported (a newer version).
Result<ImageTag> parse_tag(std::string_view json);

// The list images.json: names, sorted.
std::string serialize_image_list(const std::vector<std::string>& names);
Result<std::vector<std::string>> parse_image_list(std::string_view json);

}  // namespace forerun::repository
