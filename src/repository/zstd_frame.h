// One zstd frame, packed and unpacked whole, between limits that the caller knows.
#pragma once

#include <cstdint>

#include "core/bytes.h"
#include "core/result.h"

namespace forerun::repository {

// Returns the frame of `content`, without a dictionary. Each thread keeps its own contexts.
Buffer pack_frame(ByteView content, int level);
// Returns how many bytes the frame says it unpacks to. ERRORS: kCorrupt: it does not say.
Result<uint64_t> frame_content_size(ByteView frame);
// Unpacks exactly one frame into exactly `out`. What the frame claims is compared before a byte is
// unpacked, and the output is bounded by `out` whatever it claims. ERRORS: kCorrupt; the message
// follows the name of what holds the frame: "holds no zstd frame".
Status unpack_frame(ByteView frame, MutableByteView out);

}  // namespace forerun::repository
