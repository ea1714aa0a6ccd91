// Where the content of a chunk may have come from: which chunks of an earlier version of a
// component hold many of the same short runs of bytes, wherever they stood in whatever file. Code
// moves far when a program is built anew, so neither path nor offset tells.
// SOURCE: sampling by content, as U. Manber, "Finding similar files in a large file system", 1994.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/result.h"
#include "image/component_index.h"
#include "image/parallel_for.h"
#include "repository/source.h"

namespace forerun::image {

// Immutable.
class BasisFinder {
 public:
  static constexpr size_t kSamplesMax = 8'000'000;  // 16 bytes each

  // Reads all whole chunks of `old`, and the bases of its others. ERRORS: as fetch_chunk.
  static Result<std::unique_ptr<BasisFinder>> create(repository::Source& source,
                                                     const ComponentIndex& old,
                                                     const ParallelFor& parallel_for,
                                                     size_t samples_max = kSamplesMax);

  // Returns up to repository::kBasesMax whole chunks, the one with the most in common first, each
  // next one by what those before do not have. Empty: nothing is alike.
  std::vector<repository::ChunkRef> find(ByteView content) const;

 private:
  struct Sample {
    uint64_t run = 0;  // a hash of the bytes
    uint32_t chunk = 0;
    auto operator<=>(const Sample&) const = default;
  };
  BasisFinder() = default;
  void sample(ByteView content, uint32_t chunk, std::vector<Sample>& out) const;

  std::vector<repository::ChunkRef> chunks_;
  std::vector<Sample> samples_;  // sorted
  uint64_t mask_ = 0;            // a run is sampled if these bits of its hash are zero
};

}  // namespace forerun::image
