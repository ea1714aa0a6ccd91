#include "repository/chunk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zstd.h>

#include "core/random_bytes.h"
#include "core/rng.h"

namespace forerun::repository {
namespace {

// Compressible, and different for each seed.
Buffer text_bytes(size_t size, uint64_t seed) {
  Rng rng(seed);
  Buffer bytes(size);
  for (auto& byte : bytes) byte = static_cast<std::byte>('a' + rng.below(4));
  return bytes;
}

Buffer packed(ByteView content, int level = 3) {
  Buffer stored(1 + ZSTD_compressBound(content.size()));
  stored[0] = std::byte{1};
  const size_t size =
      ZSTD_compress(stored.data() + 1, stored.size() - 1, content.data(), content.size(), level);
  stored.resize(1 + size);
  return stored;
}

ErrorCode code_of(const ChunkRef& ref, ByteView stored) {
  const auto chunk = decode_chunk(ref, stored);
  return chunk ? ErrorCode::kInternal : chunk.error().code;
}

TEST(Chunk, ComesBackAsItWasForEverySize) {
  for (const size_t size :
       {size_t{1}, size_t{2}, size_t{511}, size_t{4096}, size_t{65535}, size_t{65536}}) {
    for (const Buffer& content : {text_bytes(size, size), random_bytes(size, size)}) {
      const EncodedChunk encoded = encode_chunk(content);
      const auto chunk = decode_chunk(encoded.ref, encoded.stored);
      ASSERT_TRUE(chunk) << chunk.error().message;
      EXPECT_EQ((*chunk)->content, content);
      EXPECT_EQ((*chunk)->id, sha256(content));
      EXPECT_EQ(encoded.ref.size, size);
      EXPECT_EQ(encoded.ref.stored_size, encoded.stored.size());
    }
  }
}

TEST(Chunk, StoresZeroesAsNothing) {
  const EncodedChunk encoded = encode_chunk(Buffer(kChunkSize));
  EXPECT_TRUE(encoded.ref.is_zero());
  EXPECT_TRUE(encoded.stored.empty());
  EXPECT_EQ(encoded.ref, (ChunkRef{{}, kChunkSize, 0}));
}

TEST(Chunk, DoesNotTakeALastOneForZeroes) {
  Buffer content(kChunkSize);
  content.back() = std::byte{1};
  EXPECT_FALSE(encode_chunk(content).ref.is_zero());
}

TEST(Chunk, NeverStoresMoreThanContentAndHeader) {
  EXPECT_EQ(encode_chunk(random_bytes(kChunkSize, 1)).stored.size(), kStoredSizeMax);
}

TEST(Chunk, PacksWhatCanBePacked) {
  EXPECT_LT(encode_chunk(text_bytes(kChunkSize, 1)).stored.size(), kChunkSize / 3);
}

TEST(Chunk, RefusesEveryTruncation) {
  const Buffer content = text_bytes(2000, 7);
  const EncodedChunk encoded = encode_chunk(content);
  for (size_t size = 0; size < encoded.stored.size(); ++size) {
    EXPECT_EQ(code_of(encoded.ref, ByteView(encoded.stored).first(size)), ErrorCode::kCorrupt)
        << size;
  }
}

TEST(Chunk, NeverServesAFlippedBit) {
  for (const Buffer& content : {text_bytes(600, 3), random_bytes(600, 3)}) {
    EncodedChunk encoded = encode_chunk(content);
    for (size_t bit = 0; bit < encoded.stored.size() * 8; ++bit) {
      encoded.stored[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
      const auto chunk = decode_chunk(encoded.ref, encoded.stored);
      // A flip may change how the same content is packed (an unused bit of the frame), never the
      // content.
      if (chunk)
        EXPECT_EQ((*chunk)->content, content) << bit;
      else
        EXPECT_EQ(chunk.error().code, ErrorCode::kCorrupt) << bit;
      encoded.stored[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    }
  }
}

TEST(Chunk, RefusesAnotherChunksBytes) {
  const EncodedChunk a = encode_chunk(text_bytes(kChunkSize, 1));
  const EncodedChunk b = encode_chunk(text_bytes(kChunkSize, 2));
  const auto chunk = decode_chunk(a.ref, b.stored);
  ASSERT_FALSE(chunk);
  EXPECT_EQ(chunk.error().code, ErrorCode::kCorrupt);
  EXPECT_NE(chunk.error().message.find(a.ref.id.hex()), std::string::npos);
}

TEST(Chunk, RefusesBytesAfterTheFrame) {
  EncodedChunk encoded = encode_chunk(text_bytes(5000, 1));
  encoded.stored.push_back(std::byte{0});
  EXPECT_EQ(code_of(encoded.ref, encoded.stored), ErrorCode::kCorrupt);
}

TEST(Chunk, RefusesAFrameThatClaimsMoreThanTheChunkHas) {
  const Buffer content = text_bytes(1000, 1);
  ChunkRef ref = encode_chunk(content).ref;
  ref.size = 999;
  EXPECT_EQ(code_of(ref, packed(content)), ErrorCode::kCorrupt);
}

TEST(Chunk, RefusesABombByItsClaim) {
  const Buffer bomb = packed(Buffer(16 * kMiB), 1);  // a few KiB that claim and unpack to 16 MiB
  ASSERT_LT(bomb.size(), kStoredSizeMax);
  const auto chunk = decode_chunk({sha256(bomb), kChunkSize, kChunkSize}, bomb);
  ASSERT_FALSE(chunk);
  EXPECT_THAT(chunk.error().message, testing::HasSubstr("unpacks to 16777216 bytes, not 65536"));
}

TEST(Chunk, RefusesABombThatClaimsNothing) {
  const Buffer zeroes(4 * kMiB);
  Buffer bomb(1 + ZSTD_compressBound(zeroes.size()));
  bomb[0] = std::byte{1};
  std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(), &ZSTD_freeCCtx);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_contentSizeFlag, 0);
  bomb.resize(1 + ZSTD_compress2(context.get(), bomb.data() + 1, bomb.size() - 1, zeroes.data(),
                                 zeroes.size()));
  ASSERT_LT(bomb.size(), kStoredSizeMax);
  const auto chunk = decode_chunk({sha256(zeroes), kChunkSize, 100}, bomb);
  ASSERT_FALSE(chunk);
  EXPECT_THAT(chunk.error().message, testing::HasSubstr("does not unpack"));
}

TEST(Chunk, RefusesSizesOutsideTheLimits) {
  const EncodedChunk encoded = encode_chunk(text_bytes(100, 1));
  EXPECT_EQ(code_of({encoded.ref.id, 0, 10}, encoded.stored), ErrorCode::kCorrupt);
  EXPECT_EQ(code_of({encoded.ref.id, kChunkSize + 1, 10}, encoded.stored), ErrorCode::kCorrupt);
  EXPECT_EQ(code_of({encoded.ref.id, UINT32_MAX, 10}, encoded.stored), ErrorCode::kCorrupt);
  EXPECT_EQ(code_of({encoded.ref.id, kChunkSize, 10}, Buffer(kStoredSizeMax + 1)),
            ErrorCode::kCorrupt);
  EXPECT_EQ(code_of({{}, 100, 0}, encoded.stored), ErrorCode::kCorrupt);
}

TEST(Chunk, RefusesAnUnknownCodec) {
  EncodedChunk encoded = encode_chunk(text_bytes(100, 1));
  encoded.stored[0] = std::byte{2};
  EXPECT_EQ(code_of(encoded.ref, encoded.stored), ErrorCode::kCorrupt);
}

TEST(Chunk, RefusesRandomBytes) {
  const EncodedChunk encoded = encode_chunk(text_bytes(4000, 1));
  for (uint64_t seed = 0; seed < 500; ++seed) {
    Buffer stored = random_bytes(1 + seed * 7, seed);
    stored[0] = static_cast<std::byte>(seed % 2);
    EXPECT_EQ(code_of(encoded.ref, stored), ErrorCode::kCorrupt) << seed;
  }
}

}  // namespace
}  // namespace forerun::repository
