// Bytes that are read once, from their beginning: an archive, a file's content.
#pragma once

#include <functional>

#include "core/bytes.h"
#include "core/result.h"

namespace forerun::image {

// Fills the front of `out`, which is not empty, and returns how much; 0 only at the end.
using ByteStream = std::function<Result<size_t>(MutableByteView out)>;

// Fills `out` as far as the stream goes; less than all of it only at the end.
inline Result<size_t> read_full(const ByteStream& stream, MutableByteView out) {
  size_t filled = 0;
  while (filled < out.size()) {
    FR_TRY(const size_t count, stream(out.subspan(filled)));
    if (count == 0) break;
    filled += count;
  }
  return filled;
}

// Returns a stream of `bytes`, which must outlive it.
inline ByteStream stream_of(ByteView bytes) {
  return [bytes](MutableByteView out) mutable -> Result<size_t> {
    const size_t count = std::min(out.size(), bytes.size());
    std::copy_n(bytes.begin(), count, out.begin());
    bytes = bytes.subspan(count);
    return count;
  };
}

}  // namespace forerun::image
