// What a Source gives, verified: the tag an image has, the index a digest names, the chunk a
// reference names.
#pragma once

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

// Returns the chunk that `ref` names. ERRORS: as Source::fetch and decode_chunk. REQUIRES:
// !ref.is_zero().
Result<ChunkPtr> fetch_chunk(Source& source, const ChunkRef& ref);

}  // namespace forerun::repository
