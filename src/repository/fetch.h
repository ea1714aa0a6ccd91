// What a Source gives, verified: the tag an image has, the index a digest names, the chunk a
// reference names.
#pragma once

#include <functional>
#include <string_view>

#include "repository/chunk.h"
#include "repository/image_index.h"
#include "repository/source.h"

namespace forerun::repository {

// Returns the tag of image `name`. ERRORS: as Source::fetch and parse_tag; kInvalid for a name that
// cannot be one; kCorrupt if the tag is another image's.
Result<ImageTag> fetch_tag(Source& source, std::string_view name);

// Returns the index that `digest` names. ERRORS: as Source::fetch and parse_index; kCorrupt if the
// bytes have another digest.
Result<ImageIndex> fetch_index(Source& source, const Digest& digest);

// How the basis of a delta is got, verified. Empty: a fetch from the source of the delta.
using GetBasis = std::function<Result<ChunkPtr>(const ChunkRef&)>;

// Returns the chunk that `ref` names. If it is_delta, its delta is asked for first, then its bases,
// and what cannot be told by them is fetched whole if it is there. `fetched_bytes` receives what
// came from `source`, with the bases if they came from there by default. ERRORS: as Source::fetch,
// decode_chunk and decode_delta; of a basis with both names. REQUIRES: !ref.is_zero().
Result<ChunkPtr> fetch_chunk(Source& source, const ChunkRef& ref, const GetBasis& get_basis = {},
                             uint64_t* fetched_bytes = nullptr);
// Returns the chunk that `delta`, fetched as the delta of `ref`, tells. ERRORS, GetBasis: the same.
Result<ChunkPtr> complete_delta(Source& source, const ChunkRef& ref, ByteView delta,
                                const GetBasis& get_basis = {}, uint64_t* fetched_bytes = nullptr);

}  // namespace forerun::repository
