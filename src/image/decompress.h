// Unpacks gzip, zstd and xz streams as they are read.
#pragma once

#include "image/byte_stream.h"

namespace forerun::image {

// What a bomb runs into: a stream may give bytes_free, and ratio_max times what it took.
struct UnpackLimits {
  uint64_t bytes_free = 256 * kMiB;
  uint64_t ratio_max = 250;
};

enum class Packing { kPlain, kGzip, kZstd, kXz };
// Returns what a stream is that begins so: its first six bytes tell.
Packing packing_of(ByteView begun);

// Returns the content of `stream`: what its first bytes say is gzip, zstd or xz is unpacked, all
// else is passed on as it is. Takes up to 140 MiB of memory. ERRORS: those of the stream. Those of
// the stream returned: kCorrupt (broken, cut off, or followed by something else), kTooLarge.
Result<ByteStream> unpacked(ByteStream stream, UnpackLimits limits = {});
// The same of a stream that is said to be packed in one way. ERRORS: also kCorrupt if it is not.
Result<ByteStream> unpacked_as(Packing packing, ByteStream stream, UnpackLimits limits = {});

}  // namespace forerun::image
