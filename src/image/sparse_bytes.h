// Bytes of a disk of which most are zero: only pieces that were written take memory.
#pragma once

#include <vector>

#include "core/bytes.h"
#include "core/zeroed_memory.h"

namespace forerun::image {

// Not thread-safe while written; pieces are those of chunks, so that each can become one.
class SparseBytes {
 public:
  static constexpr uint64_t kPieceSize = 64 * kKiB;

  // Returns the `size` bytes at `offset`, to be written. REQUIRES: they lie within one piece.
  MutableByteView at(uint64_t offset, size_t size) {
    const uint64_t number = offset / kPieceSize;
    if (number >= pieces_.size()) pieces_.resize(number + 1);
    if (pieces_[number] == nullptr) pieces_[number] = memory_.allocate(kPieceSize);
    return MutableByteView(pieces_[number], kPieceSize).subspan(offset % kPieceSize, size);
  }
  void write(uint64_t offset, ByteView data) {
    while (!data.empty()) {
      const size_t size = std::min<uint64_t>(data.size(), kPieceSize - offset % kPieceSize);
      std::ranges::copy(data.first(size), at(offset, size).begin());
      data = data.subspan(size);
      offset += size;
    }
  }
  // Fills `out` from `offset`.
  void read(uint64_t offset, MutableByteView out) const {
    while (!out.empty()) {
      const size_t size = std::min<uint64_t>(out.size(), kPieceSize - offset % kPieceSize);
      const ByteView piece = find(offset / kPieceSize);
      if (piece.empty()) {
        std::ranges::fill(out.first(size), std::byte{0});
      } else {
        std::ranges::copy(piece.subspan(offset % kPieceSize, size), out.begin());
      }
      out = out.subspan(size);
      offset += size;
    }
  }
  // Returns the piece of that number, or nothing if it was never written.
  ByteView find(uint64_t number) const {
    if (number >= pieces_.size() || pieces_[number] == nullptr) return {};
    return {pieces_[number], kPieceSize};
  }
  uint64_t piece_count() const { return pieces_.size(); }  // one more than the last one's number

 private:
  ZeroedMemory memory_;
  std::vector<std::byte*> pieces_;  // by number; null where nothing was written
};

}  // namespace forerun::image
