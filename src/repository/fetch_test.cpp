#include "repository/fetch.h"

#include <gtest/gtest.h>

#include "repository/memory_store.h"

namespace forerun::repository {
namespace {

struct Fetch : testing::Test {
  Fetch() {
    chunk = encode_chunk(as_bytes("a chunk that is stored as it is"));
    other = encode_chunk(as_bytes("another chunk, which was swapped"));
    index = {chunk.ref.size, {chunk.ref}};
    const Buffer data = serialize(index);
    digest = sha256(data);
    tag = {"one", digest, index.size_bytes, chunk.ref.stored_size, "2026-11-21T02:40:00Z"};
    EXPECT_TRUE(store.put(chunk_path(chunk.ref.id), chunk.stored));
    EXPECT_TRUE(store.put(index_path(digest), data));
    EXPECT_TRUE(store.put(image_path("one"), as_bytes(serialize(tag))));
  }
  MemoryStore store;
  EncodedChunk chunk, other;
  ImageIndex index;
  Digest digest;
  ImageTag tag;
};

TEST_F(Fetch, FollowsATagToItsContent) {
  const auto got_tag = fetch_tag(store, "one");
  ASSERT_TRUE(got_tag);
  EXPECT_EQ(*got_tag, tag);
  const auto got_index = fetch_index(store, got_tag->index);
  ASSERT_TRUE(got_index);
  EXPECT_EQ(*got_index, index);
  const auto got_chunk = fetch_chunk(store, got_index->chunks[0]);
  ASSERT_TRUE(got_chunk);
  EXPECT_EQ(as_text((*got_chunk)->content), "a chunk that is stored as it is");
}

TEST_F(Fetch, RefusesAnIndexUnderAnotherName) {
  store.spoil(index_path(digest), serialize(ImageIndex{other.ref.size, {other.ref}}));
  EXPECT_EQ(fetch_index(store, digest).error().code, ErrorCode::kCorrupt);
}

TEST_F(Fetch, RefusesAChunkUnderAnotherName) {
  store.spoil(chunk_path(chunk.ref.id), other.stored);
  EXPECT_EQ(fetch_chunk(store, chunk.ref).error().code, ErrorCode::kCorrupt);
}

TEST_F(Fetch, RefusesATagUnderAnotherName) {
  EXPECT_TRUE(store.put(image_path("two"), as_bytes(serialize(tag))));
  EXPECT_EQ(fetch_tag(store, "two").error().code, ErrorCode::kCorrupt);
}

TEST_F(Fetch, RefusesANameThatIsAPath) {
  EXPECT_EQ(fetch_tag(store, "../one").error().code, ErrorCode::kInvalid);
}

TEST_F(Fetch, SaysWhatIsMissing) {
  EXPECT_EQ(fetch_tag(store, "none").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(fetch_chunk(store, other.ref).error().code, ErrorCode::kNotFound);
}

TEST_F(Fetch, RefusesAnOversizedChunk) {
  store.spoil(chunk_path(chunk.ref.id), Buffer(kStoredSizeMax + 1));
  EXPECT_EQ(fetch_chunk(store, chunk.ref).error().code, ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace forerun::repository
