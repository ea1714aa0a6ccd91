// The memory as a pool: what it is used for, what is worth keeping, and how much of it there is.
#include "tier/tier_fixture.h"

namespace forerun::tier {
namespace {

using repository::ChunkPtr;

class TierPoolTest : public TierFixture {
 protected:
  PoolStats pool() { return tier_->pool(); }
  void demand_many(uint64_t first, uint64_t count) {
    for (uint64_t i = first; i < first + count; ++i) demand(chunk_of(i));
  }
};

TEST_F(TierPoolTest, EveryByteIsReservedOrPrefetchedOrUsed) {
  open(8, 0);
  demand_many(0, 3);
  for (uint64_t i = 10; i < 12; ++i) prefetch(chunk_of(i));
  const ChunkPtr held = tier_->find_in_memory(chunk_of(0)->id);
  tier_->need(chunk_of(10)->id, 0.9, kTimeZero + 1s);
  EXPECT_EQ(pool().reserved_bytes, 2 * kChunk);
  EXPECT_EQ(pool().in_use_bytes, kChunk);
  EXPECT_EQ(pool().prefetched_bytes, kChunk);
  EXPECT_EQ(pool().used_bytes, 2 * kChunk);
  EXPECT_EQ(pool().limit_bytes, 8 * kChunk);
}

TEST_F(TierPoolTest, NeedEndsWithItsTime) {
  open(8, 0);
  demand(chunk_of(1));
  EXPECT_TRUE(tier_->need(chunk_of(1)->id, 0.9, kTimeZero + 1s));
  tier_->tick(kTimeZero + 1s);
  EXPECT_EQ(pool().reserved_bytes, kChunk);
  tier_->tick(kTimeZero + 2s);
  EXPECT_EQ(pool().reserved_bytes, 0u);
}

TEST_F(TierPoolTest, NeedEndsWithAsManyUsesAsWereForeseen) {
  open(8, 0);
  const ChunkPtr chunk = chunk_of(1);
  demand(chunk);
  for (int vm = 0; vm < 2; ++vm) tier_->need(chunk->id, 0.9, kTimeZero + 1s);
  tier_->find_in_memory(chunk->id);
  EXPECT_EQ(pool().reserved_bytes, kChunk);
  tier_->find_in_memory(chunk->id);
  EXPECT_EQ(pool().reserved_bytes, 0u);
}

TEST_F(TierPoolTest, NeedOfWhatIsNotHereIsNotRemembered) {
  open(8, 0);
  EXPECT_FALSE(tier_->need(chunk_of(1)->id, 0.9, kTimeZero + 1s));
  demand(chunk_of(1));
  EXPECT_EQ(pool().reserved_bytes, 0u);
}

TEST_F(TierPoolTest, NeededOutlivesWhatIsNot) {
  open(8, 0);
  demand_many(0, 8);
  tier_->need(chunk_of(0)->id, 0.9, kTimeZero + 1s);
  demand_many(100, 12);
  EXPECT_EQ(tier_->where(chunk_of(0)->id), Level::kMemory);
  EXPECT_EQ(tier_->where(chunk_of(1)->id), Level::kNone);
}

TEST_F(TierPoolTest, NeedIsKeptWhenTheChunkComesBackFromTheFile) {
  open(2, 8);
  demand_many(0, 4);
  write_all();
  ASSERT_EQ(tier_->where(chunk_of(0)->id), Level::kFile);
  tier_->need(chunk_of(0)->id, 0.9, kTimeZero + 1s);
  tier_->need(chunk_of(0)->id, 0.9, kTimeZero + 1s);
  EXPECT_EQ(found(chunk_of(0)), Level::kFile);
  EXPECT_EQ(pool().reserved_bytes, kChunk) << "one use of two has been seen";
}

TEST_F(TierPoolTest, WhatTheFileHasLeavesMemoryBeforeWhatItHasNot) {
  open(8, 2);
  demand_many(0, 8);
  write_all();  // the file holds the two youngest
  tier_->set_memory_limit(6 * kChunk);
  for (uint64_t i = 0; i < 6; ++i) EXPECT_EQ(tier_->where(chunk_of(i)->id), Level::kMemory) << i;
  for (uint64_t i = 6; i < 8; ++i) EXPECT_EQ(tier_->where(chunk_of(i)->id), Level::kFile) << i;
}

TEST_F(TierPoolTest, ChunkThatAReadHoldsOutlivesAFlood) {
  open(8, 0);
  demand(chunk_of(0));
  ChunkPtr held = tier_->find_in_memory(chunk_of(0)->id);
  demand_many(100, 50);
  EXPECT_EQ(tier_->where(held->id), Level::kMemory);
  held.reset();
  demand_many(200, 50);
  EXPECT_EQ(tier_->where(chunk_of(0)->id), Level::kNone);
}

TEST_F(TierPoolTest, LowerLimitFreesMemoryAtOnceAndHigherIsFilledAgain) {
  open(8, 0);
  demand_many(0, 8);
  tier_->set_memory_limit(3 * kChunk);
  EXPECT_EQ(tier_->stats().memory_bytes, 3 * kChunk);
  tier_->set_memory_limit(100 * kChunk);
  EXPECT_EQ(pool().limit_bytes, 8 * kChunk) << "never more than was opened with";
  demand_many(100, 20);
  EXPECT_EQ(tier_->stats().memory_bytes, 8 * kChunk);
}

TEST_F(TierPoolTest, LowerLimitReportsThePrefetchedThatLeft) {
  open(8, 0);
  for (uint64_t i = 0; i < 4; ++i) prefetch(chunk_of(i));
  tier_->set_memory_limit(0);
  EXPECT_EQ(unused_.size(), 4u);
}

TEST_F(TierPoolTest, ChunkThatSeveralUseIsThereOnce) {
  open(8, 0);
  const Reader first = tier_->add_reader();
  const Reader second = tier_->add_reader();
  demand_many(0, 2);
  for (const Reader reader : {first, second}) tier_->find_in_memory(chunk_of(0)->id, reader);
  tier_->note_reader(chunk_of(1)->id, second);
  EXPECT_EQ(tier_->stats().memory_bytes, 2 * kChunk);
  EXPECT_EQ(pool().shared_bytes, kChunk);
  EXPECT_EQ(pool().copies_bytes, 3 * kChunk);
  tier_->remove_reader(second);
  EXPECT_EQ(pool().shared_bytes, 0u);
  EXPECT_EQ(pool().copies_bytes, kChunk);
}

TEST_F(TierPoolTest, ReadersAreToldApartUpToALimit) {
  open(8, 0);
  for (size_t i = 0; i < kReadersMax; ++i) EXPECT_EQ(tier_->add_reader(), i);
  EXPECT_EQ(tier_->add_reader(), kReadersMax - 1) << "those beyond share the last number";
  tier_->remove_reader(kReadersMax - 1);
  EXPECT_GT(tier_->share(kReadersMax - 1).memory_share_bytes, 0u) << "one still goes by it";
  tier_->remove_reader(7);
  EXPECT_EQ(tier_->add_reader(), 7);
}

}  // namespace
}  // namespace forerun::tier
