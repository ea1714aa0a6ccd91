#include "repository/fetch.h"

#include <fmt/format.h>

namespace forerun::repository {

Result<ImageTag> fetch_tag(Source& source, std::string_view name) {
  if (!is_valid_name(name)) {
    return fail(ErrorCode::kInvalid, fmt::format("'{}' cannot name an image", name));
  }
  FR_TRY(const Buffer data, source.fetch(image_path(name), kTagBytesMax));
  auto tag = parse_tag(as_text(data));
  if (!tag)
    return std::unexpected(tag.error().within(fmt::format("{}: image {}", source.name(), name)));
  if (tag->name != name) {
    return fail(ErrorCode::kCorrupt, fmt::format("{}: the tag of image {} names image {}",
                                                 source.name(), name, tag->name));
  }
  return tag;
}

Result<ImageIndex> fetch_index(Source& source, const Digest& digest) {
  FR_TRY(const Buffer data, source.fetch(index_path(digest), kIndexBytesMax));
  if (sha256(data) != digest) {
    return fail(ErrorCode::kCorrupt,
                fmt::format("{}: index {} is not what its name says", source.name(), digest.hex()));
  }
  auto index = parse_index(data);
  if (!index) {
    return std::unexpected(
        index.error().within(fmt::format("{}: index {}", source.name(), digest.hex())));
  }
  return index;
}

Result<ChunkPtr> fetch_chunk(Source& source, const ChunkRef& ref) {
  FR_TRY(const Buffer stored, source.fetch(chunk_path(ref.id), kStoredSizeMax));
  auto chunk = decode_chunk(ref, stored);
  if (!chunk) return std::unexpected(chunk.error().within(source.name()));
  return chunk;
}

}  // namespace forerun::repository
