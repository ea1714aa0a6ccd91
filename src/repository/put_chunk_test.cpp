#include "repository/put_chunk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "repository/delta_fixture.h"
#include "repository/fetch.h"
#include "repository/memory_store.h"

namespace forerun::repository {
namespace {

using namespace repository::testing;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

struct PutChunkTest : ::testing::Test {
  PutChunkTest() {
    put_whole(store, told.first);
    put_whole(store, told.second);
    store.advance(48h);
  }
  PutChunk put(const ProposeBases& with) {
    const auto done = put_chunk(store, told.chunk->id, told.chunk->content, 3, with);
    EXPECT_TRUE(done) << done.error().message;
    return done ? *done : PutChunk{};
  }
  bool has_whole() { return store.contains(chunk_path(told.chunk->id)); }
  bool has_delta() { return store.contains(delta_path(told.chunk->id)); }
  // Returns when the object was last put or renewed.
  StoreTime renewed(const std::string& path) {
    StoreTime at{-1};
    EXPECT_TRUE(store.list(path.substr(0, path.find('/')), [&](const ObjectInfo& object) {
      if (object.path == path) at = object.renewed;
      return Status{};
    }));
    return at;
  }
  MemoryStore store;
  const ToldByTwo told;
  const ProposeBases both = [this](ByteView) {
    return std::vector{whole_ref(told.first), whole_ref(told.second)};
  };
};

TEST_F(PutChunkTest, StoresADeltaOfWhatIsAlikeAndSaysItsBases) {
  const PutChunk done = put(both);
  EXPECT_EQ(done.kind, PutKind::kNew);
  EXPECT_TRUE(done.ref.is_delta);
  EXPECT_THAT(done.bases, ElementsAre(whole_ref(told.first), whole_ref(told.second)));
  EXPECT_TRUE(has_delta());
  EXPECT_FALSE(has_whole());
  const auto back = fetch_chunk(store, done.ref);
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ((*back)->content, told.chunk->content);
}

TEST_F(PutChunkTest, MakesTheBasesYoungSoThatNoCollectionTakesThem) {
  put(both);
  EXPECT_EQ(renewed(chunk_path(told.first->id)), Nanos(48h));
  store.advance(48h);
  put(both);
  EXPECT_EQ(renewed(chunk_path(told.second->id)), Nanos(96h));
  EXPECT_EQ(renewed(delta_path(told.chunk->id)), Nanos(96h));
}

TEST_F(PutChunkTest, KeepsADeltaThatIsThereForWhoNamesItsBases) {
  put(both);
  const PutChunk again = put([](ByteView) { return std::vector<ChunkRef>{}; });
  EXPECT_EQ(again.kind, PutKind::kReused);
  EXPECT_TRUE(again.ref.is_delta);
  EXPECT_EQ(again.bases.size(), 2u);
}

TEST_F(PutChunkTest, StoresAChunkWholeForWhoNamesNoBasesWhateverDeltaIsThere) {
  put(both);
  const PutChunk done = put({});
  EXPECT_EQ(done.kind, PutKind::kNew);
  EXPECT_FALSE(done.ref.is_delta);
  EXPECT_THAT(done.bases, IsEmpty());
  EXPECT_TRUE(has_whole());
  EXPECT_TRUE(fetch_chunk(store, done.ref));
}

TEST_F(PutChunkTest, PrefersTheWholeChunkThatIsThere) {
  put({});
  const PutChunk done = put(both);
  EXPECT_EQ(done.kind, PutKind::kReused);
  EXPECT_FALSE(done.ref.is_delta);
  EXPECT_FALSE(has_delta());
}

TEST_F(PutChunkTest, RepairsABrokenWholeChunkAsAWholeOne) {
  put({});
  store.spoil(chunk_path(told.chunk->id), Buffer(5));
  const PutChunk done = put(both);
  EXPECT_EQ(done.kind, PutKind::kRepaired);
  EXPECT_FALSE(done.ref.is_delta);
  EXPECT_TRUE(fetch_chunk(store, done.ref));
}

TEST_F(PutChunkTest, ReplacesADeltaThatIsBrokenOrHasLostABasis) {
  put(both);
  store.spoil(delta_path(told.chunk->id), Buffer(5));
  EXPECT_EQ(put(both).kind, PutKind::kNew);
  ASSERT_TRUE(*store.remove(chunk_path(told.second->id), Nanos::max()));
  const PutChunk done = put(both);
  EXPECT_EQ(done.kind, PutKind::kNew);
  EXPECT_TRUE(fetch_chunk(store, done.ref));
}

TEST_F(PutChunkTest, TellsNothingByADelta) {
  put(both);
  const ChunkPtr third = chunk_with(rebuilt(rebuilt(told.chunk->content)));
  const auto by_delta = [&](ByteView) { return std::vector{delta_ref(told.chunk, 100)}; };
  const auto done = put_chunk(store, third->id, third->content, 3, by_delta);
  ASSERT_TRUE(done);
  EXPECT_FALSE(done->ref.is_delta);
}

TEST_F(PutChunkTest, RefusesToReadADeltaOfADelta) {
  put(both);
  // As somebody might forge it: a delta where a whole chunk stands.
  ASSERT_TRUE(store.put(chunk_path(told.first->id), told.stored));
  const auto deep = fetch_chunk(store, told.ref);
  ASSERT_FALSE(deep);
  EXPECT_EQ(deep.error().code, ErrorCode::kCorrupt);
  EXPECT_THAT(deep.error().message, HasSubstr("is a delta where a whole chunk is due"));
}

TEST_F(PutChunkTest, StoresWholeWhatIsLikeNothing) {
  const ChunkPtr other = chunk_with(random_content(77));
  const auto done = put_chunk(store, other->id, other->content, 3, both);
  ASSERT_TRUE(done);
  EXPECT_FALSE(done->ref.is_delta);
}

TEST_F(PutChunkTest, FetchesABrokenDeltaWholeIfItCan) {
  const PutChunk done = put(both);
  store.spoil(delta_path(told.chunk->id), Buffer(5));
  EXPECT_EQ(fetch_chunk(store, done.ref).error().code, ErrorCode::kCorrupt);
  put_whole(store, told.chunk);
  uint64_t bytes = 0;
  EXPECT_TRUE(fetch_chunk(store, done.ref, {}, &bytes));
  EXPECT_EQ(bytes, 5u + store.fetch(chunk_path(told.chunk->id), kStoredSizeMax)->size());
}

TEST_F(PutChunkTest, NamesChunkAndBasisOfWhatCannotBeTold) {
  const PutChunk done = put(both);
  ASSERT_TRUE(*store.remove(chunk_path(told.first->id), Nanos::max()));
  const auto chunk = fetch_chunk(store, done.ref);
  ASSERT_FALSE(chunk);
  EXPECT_EQ(chunk.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(chunk.error().message, HasSubstr(told.chunk->id.hex()));
  EXPECT_THAT(chunk.error().message, HasSubstr(told.first->id.hex()));
}

TEST_F(PutChunkTest, CountsWhatADeltaAndItsBasesTake) {
  const PutChunk done = put(both);
  uint64_t bytes = 0;
  ASSERT_TRUE(fetch_chunk(store, done.ref, {}, &bytes));
  EXPECT_EQ(bytes, told.stored.size() + 2 * kStoredSizeMax);  // noise is stored as it is
}

}  // namespace
}  // namespace forerun::repository
