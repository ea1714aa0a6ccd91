#include "repository/fetch.h"

#include <fmt/format.h>

#include "repository/delta.h"

namespace forerun::repository {
namespace {

// Whether asking again may help: nothing is said about the data.
bool is_passing(const Error& error) {
  return error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kTimedOut ||
         error.code == ErrorCode::kIo;
}

Result<ChunkPtr> fetch_whole(Source& source, const ChunkRef& ref, uint64_t* fetched_bytes) {
  FR_TRY(const Buffer stored, source.fetch(chunk_path(ref.id), kStoredSizeMax));
  if (fetched_bytes) *fetched_bytes += stored.size();
  auto chunk = decode_chunk(ref, stored);
  if (!chunk) return std::unexpected(std::move(chunk.error()).within(source.name()));
  return chunk;
}

}  // namespace

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

Result<ChunkPtr> complete_delta(Source& source, const ChunkRef& ref, ByteView delta,
                                const GetBasis& get_basis, uint64_t* fetched_bytes) {
  FR_TRY(const std::vector<ChunkRef> named, read_bases(ref, delta));
  std::vector<ChunkPtr> bases;
  for (const ChunkRef& basis : named) {
    auto chunk = get_basis ? get_basis(basis) : fetch_whole(source, basis, fetched_bytes);
    if (!chunk) {
      return std::unexpected(
          std::move(chunk.error())
              .within(fmt::format("chunk {} is told by chunk {}", ref.id.hex(), basis.id.hex())));
    }
    bases.push_back(std::move(*chunk));
  }
  auto chunk = decode_delta(ref, delta, bases);
  if (!chunk) return std::unexpected(std::move(chunk.error()).within(source.name()));
  return chunk;
}

Result<ChunkPtr> fetch_chunk(Source& source, const ChunkRef& ref, const GetBasis& get_basis,
                             uint64_t* fetched_bytes) {
  if (!ref.is_delta) return fetch_whole(source, ref, fetched_bytes);
  const auto delta = source.fetch(delta_path(ref.id), kStoredSizeMax);
  if (delta && fetched_bytes) *fetched_bytes += delta->size();
  auto told = delta ? complete_delta(source, ref, *delta, get_basis, fetched_bytes)
                    : Result<ChunkPtr>(std::unexpected(delta.error()));
  if (told || is_passing(told.error())) return told;
  auto whole = fetch_whole(source, ref, fetched_bytes);
  if (whole || is_passing(whole.error())) return whole;
  return delta ? told : whole;
}

}  // namespace forerun::repository
