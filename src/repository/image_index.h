// The index of an image: which chunk stands at each 64 KiB of the disk. Named by the SHA-256 of its serialised bytes.
// Format: docs/format_index.md.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "repository/chunk.h"

namespace forerun::repository {

inline constexpr uint64_t kImageSizeMax = 64ull << 40;        // 64 TiB
inline constexpr size_t kIndexBytesMax = 512 * 1024 * 1024;   // what a reader accepts

struct ImageIndex {
  uint64_t size_bytes = 0;
  std::vector<ChunkRef> chunks;  // ceil(size_bytes / kChunkSize) of them

  uint64_t stored_bytes() const;   // sum over distinct chunks
  bool operator==(const ImageIndex&) const = default;
};

Buffer serialize(const ImageIndex& index);
// Returns the index in `data`, which comes from outside: every count and size is checked before use.
// ERRORS: kCorrupt, kUnsupported (a newer version), saying what and where.
Result<ImageIndex> parse_index(ByteView data);

// The tag images/<name>.json.
struct ImageTag {
  std::string name;
  Digest index;
  uint64_t size_bytes = 0;
  uint64_t stored_bytes = 0;
  std::string created;  // RFC 3339, UTC

  bool operator==(const ImageTag&) const = default;
};
std::string serialize(const ImageTag& tag);
Result<ImageTag> parse_tag(std::string_view json);

}  // namespace forerun::repository
