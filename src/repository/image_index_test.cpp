#include "repository/image_index.h"

#include <gtest/gtest.h>

#include "core/codec.h"
#include "core/rng.h"
#include "repository/source.h"

namespace forerun::repository {
namespace {

ChunkRef stored_ref(uint64_t number, uint32_t size = kChunkSize) {
  ByteWriter seed;
  seed.u64(number);
  return {sha256(seed.view()), size, 1000 + static_cast<uint32_t>(number % 1000)};
}

// `pattern`: one letter per chunk, '.' for zeroes, another letter for a stored chunk named by it.
ImageIndex index_of(std::string_view pattern, uint32_t last_size = kChunkSize) {
  ImageIndex index;
  index.size_bytes = (pattern.size() - 1) * uint64_t{kChunkSize} + last_size;
  for (const char letter : pattern) {
    index.chunks.push_back(letter == '.' ? ChunkRef{{}, kChunkSize, 0}
                                         : stored_ref(static_cast<uint64_t>(letter)));
  }
  index.chunks.back().size = last_size;
  return index;
}

struct Header {
  std::string_view magic = "FRINDEX\n";
  uint16_t version = 1;
  uint16_t reserved = 0;
  uint32_t chunk_size = kChunkSize;
  uint64_t size_bytes = kChunkSize;
};

ByteWriter header_of(const Header& header) {
  ByteWriter out;
  out.bytes(as_bytes(header.magic));
  out.u16(header.version);
  out.u16(header.reserved);
  out.u32(header.chunk_size);
  out.u64(header.size_bytes);
  return out;
}

constexpr uint32_t kStored = 1u << 31;

ErrorCode code_of(ByteView data) {
  const auto index = parse_index(data);
  return index ? ErrorCode::kInternal : index.error().code;
}

ErrorCode code_of(const Header& header) {
  ByteWriter out = header_of(header);
  out.u32(1);
  return code_of(out.view());
}

TEST(ImageIndex, ComesBackAsItWas) {
  for (const std::string_view pattern :
       {"a", ".", "ab", "a.", ".a", "aa..bc.a", "....", "abcdefgh"}) {
    for (const uint32_t last : {kChunkSize, 1u + 2000u, kChunkSize - 512}) {
      const ImageIndex index = index_of(pattern, last);
      const auto parsed = parse_index(serialize(index));
      ASSERT_TRUE(parsed) << parsed.error().message;
      EXPECT_EQ(*parsed, index) << pattern;
    }
  }
}

TEST(ImageIndex, KeepsRunsOfZeroesShort) {
  ImageIndex index;
  index.chunks.assign(100'000, ChunkRef{{}, kChunkSize, 0});
  index.size_bytes = index.chunks.size() * uint64_t{kChunkSize};
  EXPECT_EQ(serialize(index).size(), 24u + 4u);
}

TEST(ImageIndex, CountsEachStoredChunkOnce) {
  EXPECT_EQ(index_of("a.a.ba").stored_bytes(),
            stored_ref('a').stored_size + stored_ref('b').stored_size);
}

TEST(ImageIndex, RefusesEveryTruncation) {
  const Buffer data = serialize(index_of("ab..c.d", 512));
  for (size_t size = 0; size < data.size(); ++size) {
    EXPECT_EQ(code_of(ByteView(data).first(size)), ErrorCode::kCorrupt) << size;
  }
}

TEST(ImageIndex, RefusesBytesAtTheEnd) {
  Buffer data = serialize(index_of("ab"));
  data.push_back(std::byte{0});
  EXPECT_EQ(code_of(data), ErrorCode::kCorrupt);
}

// Whatever a flipped bit makes of it is refused, or is the one serialised form of another index.
TEST(ImageIndex, AcceptsOnlyTheCanonicalForm) {
  Buffer data = serialize(index_of("ab..c.d", 512));
  for (size_t bit = 0; bit < data.size() * 8; ++bit) {
    data[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
    const auto index = parse_index(data, 16 * kMiB);
    if (index) EXPECT_EQ(serialize(*index), data) << bit;
    data[bit / 8] ^= static_cast<std::byte>(1 << bit % 8);
  }
}

TEST(ImageIndex, RefusesForeignHeaders) {
  EXPECT_EQ(code_of(Header{.magic = "FRINDEX\r"}), ErrorCode::kCorrupt);
  EXPECT_EQ(code_of(Header{.version = 0}), ErrorCode::kUnsupported);
  EXPECT_EQ(code_of(Header{.version = 2}), ErrorCode::kUnsupported);
  EXPECT_EQ(code_of(Header{.reserved = 1}), ErrorCode::kCorrupt);
  EXPECT_EQ(code_of(Header{.chunk_size = 4096}), ErrorCode::kUnsupported);
  EXPECT_EQ(code_of(Header{.size_bytes = 0}), ErrorCode::kCorrupt);
  EXPECT_EQ(code_of(Header{.size_bytes = kImageSizeMax + 1}), ErrorCode::kTooLarge);
  EXPECT_EQ(code_of(Header{.size_bytes = UINT64_MAX}), ErrorCode::kTooLarge);
  EXPECT_EQ(code_of(Header{}), ErrorCode::kInternal);  // the same header, unspoilt, is accepted
}

TEST(ImageIndex, HoldsTheCallersLimit) {
  const Buffer data = serialize(index_of("..."));
  EXPECT_TRUE(parse_index(data, 3 * kChunkSize));
  EXPECT_EQ(parse_index(data, 3 * kChunkSize - 1).error().code, ErrorCode::kTooLarge);
}

TEST(ImageIndex, RefusesRunsThatClaimTooMuch) {
  const Header two{.size_bytes = 2 * kChunkSize};
  for (const uint32_t word : {3u, 0x7fffffffu, 0u, kStored, kStored | 2u, kStored | 0x7fffffffu}) {
    ByteWriter out = header_of(two);
    out.u32(word);
    EXPECT_EQ(code_of(out.view()), ErrorCode::kCorrupt) << word;
  }
}

// 1 TiB of stored chunks claimed, one given: refused before room is made for them.
TEST(ImageIndex, RefusesAHugeClaimBeforeAllocating) {
  ByteWriter out = header_of({.size_bytes = kImageSizeMax});
  out.u32(kStored | static_cast<uint32_t>(kImageSizeMax / kChunkSize));
  out.bytes(Buffer(36, std::byte{1}));
  EXPECT_EQ(code_of(out.view()), ErrorCode::kCorrupt);
}

TEST(ImageIndex, RefusesSplitRuns) {
  ByteWriter out = header_of({.size_bytes = 2 * kChunkSize});
  out.u32(1);
  out.u32(1);
  EXPECT_EQ(code_of(out.view()), ErrorCode::kCorrupt);
}

TEST(ImageIndex, RefusesStoredChunksThatCannotBe) {
  for (const uint32_t stored_size : {0u, 1u, kStoredSizeMax + 1, UINT32_MAX}) {
    ByteWriter out = header_of({});
    out.u32(kStored | 1);
    out.bytes(Buffer(32, std::byte{7}));
    out.u32(stored_size);
    EXPECT_EQ(code_of(out.view()), ErrorCode::kCorrupt) << stored_size;
  }
  ByteWriter nameless = header_of({});
  nameless.u32(kStored | 1);
  nameless.bytes(Buffer(32));
  nameless.u32(100);
  EXPECT_EQ(code_of(nameless.view()), ErrorCode::kCorrupt);
}

TEST(ImageIndex, HasOneNameForOneContent) {
  EXPECT_EQ(sha256(serialize(index_of("ab.c"))), sha256(serialize(index_of("ab.c"))));
  EXPECT_NE(sha256(serialize(index_of("ab.c"))), sha256(serialize(index_of("ab..c"))));
}

ImageTag tag() {
  return {"debian-12", sha256(as_bytes("x")), 2 * kGiB, 123'456'789, "2026-11-21T02:40:00Z"};
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  return text.replace(text.find(from), from.size(), to);
}

TEST(ImageTag, ComesBackAsItWas) {
  const auto parsed = parse_tag(serialize(tag()));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(*parsed, tag());
}

TEST(ImageTag, RefusesEveryTruncation) {
  const std::string text = serialize(tag());
  for (size_t size = 0; size + 1 < text.size(); ++size) {  // the last character is a line end
    EXPECT_FALSE(parse_tag(std::string_view(text).substr(0, size))) << size;
  }
}

TEST(ImageTag, RefusesWrongFields) {
  const std::string good = serialize(tag());
  EXPECT_FALSE(parse_tag(replaced(good, "debian-12", "../passwd")));
  EXPECT_FALSE(parse_tag(replaced(good, "debian-12", "")));
  EXPECT_FALSE(parse_tag(replaced(good, "\"index\"", "\"indexx\"")));
  EXPECT_FALSE(parse_tag(replaced(good, tag().index.hex(), "1234")));
  EXPECT_FALSE(parse_tag(replaced(good, "2147483648", "-1")));
  EXPECT_FALSE(parse_tag(replaced(good, "2147483648", "0")));
  EXPECT_FALSE(parse_tag(replaced(good, "2147483648", "1e400")));
  EXPECT_FALSE(parse_tag(replaced(good, "2147483648", "18446744073709551615")));
  EXPECT_FALSE(parse_tag(replaced(good, "2026-11-21T02:40:00Z", "yesterday")));
  EXPECT_FALSE(parse_tag("[]"));
  EXPECT_FALSE(parse_tag("{}"));
  EXPECT_FALSE(parse_tag(std::string(1000, '[')));
  EXPECT_FALSE(parse_tag(good + std::string(kTagBytesMax, ' ')));
  EXPECT_EQ(parse_tag(replaced(good, "\"version\":1", "\"version\":2")).error().code,
            ErrorCode::kUnsupported);
}

TEST(ImageTag, OverlooksFieldsItDoesNotKnow) {
  EXPECT_TRUE(parse_tag(replaced(serialize(tag()), "{", "{\"colour\":\"blue\",")));
}

TEST(ImageList, ComesBackSortedAndOnce) {
  const auto names = parse_image_list(serialize_image_list({"b", "a", "b"}));
  ASSERT_TRUE(names) << names.error().message;
  EXPECT_EQ(*names, (std::vector<std::string>{"a", "b"}));
}

TEST(ImageList, RefusesNamesThatLeaveTheRepository) {
  EXPECT_FALSE(parse_image_list(R"({"version":1,"images":["../x"]})"));
  EXPECT_FALSE(parse_image_list(R"({"version":1,"images":[1]})"));
  EXPECT_FALSE(parse_image_list(R"({"version":1})"));
}

TEST(ObjectPath, AcceptsThePathsOfTheLayout) {
  EXPECT_TRUE(is_valid_object_path(chunk_path(sha256({}))));
  EXPECT_TRUE(is_valid_object_path(index_path(sha256({}))));
  EXPECT_TRUE(is_valid_object_path(image_path("debian-12.5_x")));
  EXPECT_TRUE(is_valid_object_path(kImageListPath));
  EXPECT_EQ(chunk_path(sha256({})).substr(0, 12), "chunks/e3/e3");
}

TEST(ObjectPath, RefusesPathsThatLeaveOrConfuse) {
  for (const std::string_view path :
       {"",     "/",   "/etc/passwd", "..",      "../x", "a/../b", "a/./b",
        "a//b", "a/",  "a/b/c/d",     ".hidden", "a/.b", "-x",     "a b",
        "a?b",  "a#b", "a%2e",        "a\\b",    "a:b",  "a\nb",   "é"}) {
    EXPECT_FALSE(is_valid_object_path(path)) << path;
  }
  EXPECT_FALSE(is_valid_object_path(std::string_view("a\0b", 3)));
  EXPECT_TRUE(is_valid_object_path(std::string(kObjectPathMax, 'a')));
  EXPECT_FALSE(is_valid_object_path(std::string(kObjectPathMax + 1, 'a')));
}

}  // namespace
}  // namespace forerun::repository
