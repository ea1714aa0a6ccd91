#include "repository/delta.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/codec.h"
#include "repository/delta_fixture.h"
#include "repository/zstd_frame.h"

namespace forerun::repository {
namespace {

using namespace repository::testing;
using ::testing::HasSubstr;

struct Delta : ::testing::Test {
  Result<ChunkPtr> decoded(ByteView stored) const {
    return decode_delta(told.ref, stored, std::vector{told.first, told.second});
  }
  std::string refused(ByteView stored) const {
    const auto chunk = decoded(stored);
    EXPECT_FALSE(chunk);
    if (chunk) return "";
    EXPECT_EQ(chunk.error().code, ErrorCode::kCorrupt);
    EXPECT_THAT(chunk.error().message, HasSubstr(told.ref.id.hex()));
    return chunk.error().message;
  }
  // Returns a delta with one basis, the first chunk, and these edits.
  Buffer with_edits(const Buffer& edits) const {
    ByteWriter out;
    out.u8(2);
    out.u8(1);
    out.bytes(std::as_bytes(std::span(told.first->id.bytes)));
    out.u32(kChunkSize);
    out.bytes(pack_frame(edits, 1));
    return out.take();
  }
  // Returns edits that begin with these bytes, followed by as many as the content has.
  Buffer edits(std::initializer_list<int> control) const {
    Buffer all;
    for (const int byte : control) all.push_back(static_cast<std::byte>(byte));
    all.resize(all.size() + told.chunk->content.size());
    return all;
  }
  std::string refused_edits(const Buffer& edits) const {
    const auto chunk = decode_delta(told.ref, with_edits(edits), std::vector{told.first});
    return chunk ? "accepted" : chunk.error().message;
  }
  const ToldByTwo told;
};

TEST_F(Delta, GivesBackItsContentInATenthOfTheBytes) {
  const auto chunk = decoded(told.stored);
  ASSERT_TRUE(chunk) << chunk.error().message;
  EXPECT_EQ((*chunk)->content, told.chunk->content);
  EXPECT_EQ((*chunk)->id, told.chunk->id);
  EXPECT_LT(told.stored.size(), kChunkSize / 10);
}

TEST_F(Delta, SaysWhatItIsToldBy) {
  const auto bases = read_bases(told.ref, told.stored);
  ASSERT_TRUE(bases);
  EXPECT_EQ(*bases, (std::vector{whole_ref(told.first), whole_ref(told.second)}));
}

TEST_F(Delta, TellsAnythingByAnything) {
  for (const size_t size : {1u, 7u, 16u, 100u, 4096u, 65535u}) {
    const ChunkPtr chunk = chunk_with(random_content(size, size));
    for (const ChunkPtr& basis : {told.first, chunk_with(random_content(99, 1)),
                                  chunk_with(Buffer(kChunkSize, std::byte(7)))}) {
      Buffer content = chunk->content;
      std::copy_n(basis->content.begin(), std::min(size, basis->content.size()) / 2,
                  content.begin());
      const ChunkPtr mixed = chunk_with(std::move(content));
      const auto stored = pack_delta(mixed->content, std::vector{basis}, kStoredSizeMax);
      if (!stored) continue;
      const auto back = decode_delta(whole_ref(mixed), *stored, std::vector{basis});
      ASSERT_TRUE(back) << back.error().message;
      EXPECT_EQ((*back)->content, mixed->content);
    }
  }
}

TEST_F(Delta, IsNotMadeWhereItWouldBeLonger) {
  EXPECT_FALSE(pack_delta(random_content(5), std::vector{told.first}, kChunkSize));
  EXPECT_FALSE(pack_delta(told.chunk->content, std::vector{told.first, told.second},
                          told.stored.size() - 1));
}

TEST_F(Delta, RefusesEveryHeaderThatIsNoHeader) {
  const auto changed = [&](size_t at, int value) {
    Buffer stored = told.stored;
    stored[at] = static_cast<std::byte>(value);
    return stored;
  };
  EXPECT_THAT(refused({}), HasSubstr("is no delta"));
  EXPECT_THAT(refused(ByteView(told.stored).first(1)), HasSubstr("is no delta"));
  EXPECT_THAT(refused(changed(0, 1)), HasSubstr("is no delta"));
  EXPECT_THAT(refused(changed(0, 3)), HasSubstr("is no delta"));
  EXPECT_THAT(refused(changed(1, 0)), HasSubstr("names 0 bases"));
  EXPECT_THAT(refused(changed(1, 5)), HasSubstr("names 5 bases"));
  EXPECT_THAT(refused(Buffer(kStoredSizeMax + 1, std::byte(2))), HasSubstr("too long"));
  EXPECT_THAT(refused(ByteView(told.stored).first(2 + 36 + 36)), HasSubstr("cut off"));
  EXPECT_THAT(refused(changed(2 + 32 + 2, 2)), HasSubstr("a basis of 131072 bytes"));
  EXPECT_THAT(refused(changed(2 + 32 + 2, 0)), HasSubstr("a basis of 0 bytes"));
  Buffer twice = told.stored;
  std::copy_n(twice.begin() + 2, 32, twice.begin() + 2 + 36);
  EXPECT_THAT(refused(twice), HasSubstr("a basis twice"));
  Buffer nothing = told.stored;
  std::fill_n(nothing.begin() + 2, 32, std::byte(0));
  EXPECT_THAT(refused(nothing), HasSubstr("itself or nothing"));
  Buffer itself = told.stored;
  std::ranges::copy(std::as_bytes(std::span(told.ref.id.bytes)), itself.begin() + 2);
  EXPECT_THAT(refused(itself), HasSubstr("itself or nothing"));
}

TEST_F(Delta, RefusesOtherBasesThanItNames) {
  for (const auto& bases : {std::vector{told.second, told.first}, std::vector{told.first},
                            std::vector{told.first, told.second, told.chunk},
                            std::vector{told.first, ChunkPtr()}, std::vector<ChunkPtr>{}}) {
    const auto chunk = decode_delta(told.ref, told.stored, bases);
    ASSERT_FALSE(chunk);
    EXPECT_THAT(chunk.error().message, HasSubstr("other bases than it names"));
  }
}

TEST_F(Delta, RefusesEditsThatAreNone) {
  EXPECT_THAT(refused_edits(edits({0})), HasSubstr("is not what its name says, told by"));
  EXPECT_THAT(refused_edits(edits({})), HasSubstr("bytes of edits for"));
  EXPECT_THAT(refused_edits(Buffer(2 * kChunkSize)), HasSubstr("bytes of edits for"));
  EXPECT_THAT(refused_edits(edits({1})), HasSubstr("copies that do not follow"));
  EXPECT_THAT(refused_edits(edits({0, 0})), HasSubstr("bytes between its edits"));
  EXPECT_THAT(refused_edits(edits({1, 0, 0, 0})), HasSubstr("a copy past its end"));
  EXPECT_THAT(refused_edits(edits({1, 0, 0x81, 0x80, 0x04, 0})), HasSubstr("a copy past its end"));
  EXPECT_THAT(refused_edits(edits({1, 0x81, 0x80, 0x04, 1, 0})),
              HasSubstr("literals past its end"));
  EXPECT_THAT(refused_edits(edits({1, 0, 1, 1})), HasSubstr("what its bases do not have"));
  EXPECT_THAT(refused_edits(edits({1, 0, 1, 0x80, 0x80, 0x08})),
              HasSubstr("what its bases do not have"));
  EXPECT_THAT(refused_edits(edits({1, 0, 0x81, 0x00, 0})), HasSubstr("number that is too long"));
  EXPECT_THAT(refused_edits(edits({1, 0xff, 0xff, 0xff, 0xff, 0xff})), HasSubstr("too large"));
  EXPECT_THAT(refused_edits(edits({1, 0, 1, 0x80})), HasSubstr("ends within its edits"));
}

TEST_F(Delta, RefusesAFrameThatIsNone) {
  Buffer longer = told.stored;
  longer.push_back(std::byte(0));
  EXPECT_THAT(refused(longer), HasSubstr("has bytes after its zstd frame"));
  Buffer shorter = told.stored;
  shorter.pop_back();
  EXPECT_THAT(refused(shorter), HasSubstr("broken zstd frame"));
  Buffer other = told.stored;
  other[2 + 2 * 36] ^= std::byte(1);
  EXPECT_THAT(refused(other), HasSubstr("holds no zstd frame"));
}

TEST_F(Delta, IsNeverWrongWhateverBitFlips) {
  for (size_t bit = 0; bit < told.stored.size() * 8; bit += 97) {
    Buffer stored = told.stored;
    stored[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    const auto chunk = decoded(stored);
    if (chunk) EXPECT_EQ((*chunk)->content, told.chunk->content) << bit;
  }
}

TEST_F(Delta, IsNoWholeChunk) {
  const auto chunk = decode_chunk(told.ref, told.stored);
  ASSERT_FALSE(chunk);
  EXPECT_THAT(chunk.error().message, HasSubstr("is a delta where a whole chunk is due"));
}

}  // namespace
}  // namespace forerun::repository
