// Thousands of seeded faults in stored chunks: flipped, torn, truncated, grown, swapped,
// misdirected. None may be served.
#include <gtest/gtest.h>

#include "child.h"
#include "core/rng.h"
#include "repository/chunk.h"

namespace forerun {
namespace {

using repository::ChunkRef;
using repository::EncodedChunk;

constexpr int kFaults = 20'000;

// Damages `stored`, or replaces it by another chunk's bytes.
void damage(Buffer& stored, const Buffer& other, Rng& rng) {
  switch (rng.below(6)) {
    case 0:
      stored[rng.below(stored.size())] ^= static_cast<std::byte>(1 << rng.below(8));
      break;
    case 1:
      stored.resize(rng.below(stored.size()));
      break;
    case 2:
      stored.resize(stored.size() + rng.between(1, 600));
      break;
    case 3:
      stored = other;
      break;
    case 4: {  // a torn write: from some sector on, old zeroes
      const size_t from = rng.below(stored.size());
      std::fill(stored.begin() + static_cast<ptrdiff_t>(from - from % 512), stored.end(),
                std::byte{0});
      break;
    }
    default: {  // a misdirected write: 512 bytes of another chunk
      const size_t at = rng.below(stored.size());
      const size_t count = std::min({size_t{512}, stored.size() - at, other.size()});
      std::copy_n(other.begin(), count, stored.begin() + static_cast<ptrdiff_t>(at));
    }
  }
}

TEST(Faults, NoneIsServed) {
  const Buffer disk = testing_support::make_disk(16 * kMiB, 7);
  std::vector<EncodedChunk> chunks;
  for (size_t at = 0; at + repository::kChunkSize <= disk.size(); at += repository::kChunkSize) {
    auto encoded = repository::encode_chunk(ByteView(disk).subspan(at, repository::kChunkSize));
    if (!encoded.ref.is_zero()) chunks.push_back(std::move(encoded));
  }
  ASSERT_GT(chunks.size(), 20u);

  Rng rng(42);
  int harmless = 0, detected = 0;
  for (int i = 0; i < kFaults; ++i) {
    const EncodedChunk& chunk = chunks[rng.below(chunks.size())];
    Buffer stored = chunk.stored;
    damage(stored, chunks[rng.below(chunks.size())].stored, rng);
    const auto decoded = repository::decode_chunk(chunk.ref, stored);
    if (!decoded) {
      ASSERT_EQ(decoded.error().code, ErrorCode::kCorrupt);
      ++detected;
      continue;
    }
    ASSERT_EQ(sha256((*decoded)->content), chunk.ref.id)
        << i;  // the fault changed nothing that counts
    ++harmless;
  }
  EXPECT_GT(detected, kFaults * 9 / 10);
  EXPECT_EQ(detected + harmless, kFaults);
}

}  // namespace
}  // namespace forerun
