#include "tier/tier.h"

#include "tier/tier_fixture.h"

namespace forerun::tier {
namespace {

using repository::ChunkPtr;
using testing::ElementsAre;
using testing::IsEmpty;

class TierTest : public TierFixture {};

TEST_F(TierTest, RefusesOptionsThatMakeNoSense) {
  EXPECT_FALSE(Tier::open({.small_ratio = 1.5}, nullptr, nullptr));
  EXPECT_FALSE(Tier::open({.probation_ratio = -0.1}, nullptr, nullptr));
  EXPECT_FALSE(Tier::open({.shards = 0}, nullptr, nullptr));
  EXPECT_FALSE(Tier::open({}, std::make_unique<FakeFile>(data_), nullptr));
}

TEST_F(TierTest, EmptyMissesAndCountsOnlyFindAsAMiss) {
  open(4, 4);
  const ChunkPtr chunk = chunk_of(1);
  EXPECT_EQ(tier_->find_in_memory(chunk->id), nullptr);
  EXPECT_EQ(found(chunk), Level::kNone);
  EXPECT_EQ(tier_->where(chunk->id), Level::kNone);
  EXPECT_EQ(tier_->stats().misses, 1u);
}

TEST_F(TierTest, InsertedIsFoundInMemoryWithoutACopy) {
  open(4, 4);
  const ChunkPtr chunk = chunk_of(1);
  tier_->insert(chunk, Admission::kDemand);
  EXPECT_EQ(tier_->find_in_memory(chunk->id), chunk);
  EXPECT_EQ(found(chunk), Level::kMemory);
  EXPECT_EQ(tier_->stats().memory_hits, 2u);
  EXPECT_EQ(tier_->stats().misses, 0u);
}

TEST_F(TierTest, WithoutFilesItIsMemoryOnly) {
  auto tier = *Tier::open(options(2, 100), nullptr, nullptr);
  const auto chunks = chunks_of(3);
  for (const auto& chunk : chunks) tier->insert(copy_of(chunk), Admission::kDemand);
  EXPECT_EQ(tier->find(chunks[0]->id), nullptr);
  EXPECT_NE(tier->find(chunks[2]->id), nullptr);
  EXPECT_EQ(*tier->write_back(10), 0u);
  EXPECT_TRUE(tier->sync());
  EXPECT_EQ(tier->stats().evicted, 1u);
}

TEST_F(TierTest, WhatLeftMemoryComesBackFromTheFile) {
  open(2, 10);
  const auto chunks = chunks_of(6);
  for (const auto& chunk : chunks) demand(chunk);
  write_all();
  EXPECT_EQ(tier_->where(chunks[0]->id), Level::kFile);
  EXPECT_EQ(tier_->find_in_memory(chunks[0]->id), nullptr);
  EXPECT_EQ(found(chunks[0]), Level::kFile);
  EXPECT_EQ(found(chunks[0]), Level::kMemory) << "kept in memory since";
  EXPECT_EQ(tier_->stats().file_hits, 1u);
  EXPECT_EQ(tier_->stats().evicted, 0u);
}

TEST_F(TierTest, WaitingForTheFileStillCountsAsInMemory) {
  open(2, 10);
  const auto chunks = chunks_of(6);
  for (const auto& chunk : chunks) demand(chunk);
  EXPECT_EQ(tier_->where(chunks[0]->id), Level::kMemory);
  EXPECT_NE(tier_->find_in_memory(chunks[0]->id), nullptr);
}

TEST_F(TierTest, ShortChunksKeepTheirSize) {
  open(2, 10);
  const ChunkPtr small = chunk_of(1, 777);
  demand(small);
  write_all();
  tier_->set_memory_limit(0);
  EXPECT_EQ(found(small), Level::kFile);
}

TEST_F(TierTest, WriteBackStopsWhereItIsTold) {
  open(10, 10);
  for (const auto& chunk : chunks_of(5)) demand(chunk);
  EXPECT_EQ(*tier_->write_back(2), 2u);
  EXPECT_EQ(*tier_->write_back(2), 2u);
  EXPECT_EQ(*tier_->write_back(2), 1u);
  EXPECT_EQ(*tier_->write_back(2), 0u);
}

TEST_F(TierTest, FullQueueDropsAndCounts) {
  TierOptions o = options(10, 10);
  o.write_back_chunks_max = 3;
  open(o);
  for (const auto& chunk : chunks_of(5)) demand(chunk);
  EXPECT_EQ(tier_->stats().write_back_dropped, 2u);
  EXPECT_EQ(*tier_->write_back(10), 3u);
}

TEST_F(TierTest, HotSetSurvivesAScanOfTenTimesTheTier) {
  open(20, 40);
  const auto hot = chunks_of(15, 4096);
  for (int round = 0; round < 3; ++round) {
    for (const auto& chunk : hot) {
      if (found(chunk) == Level::kNone) demand(chunk);
    }
  }
  for (uint64_t i = 100; i < 500; ++i) {
    demand(chunk_of(i));
    write_all();
  }
  for (const auto& chunk : hot) EXPECT_EQ(found(chunk), Level::kMemory);
}

TEST_F(TierTest, LimitsAreExact) {
  open(7, 11);
  for (uint64_t i = 0; i < 50; ++i) {
    demand(chunk_of(i));
    write_all();
    ASSERT_LE(tier_->stats().memory_bytes, 7 * kChunk);
    ASSERT_LE(tier_->stats().file_bytes, 11 * kChunk);
  }
  EXPECT_EQ(tier_->stats().memory_bytes, 7 * kChunk);
  EXPECT_EQ(tier_->stats().file_bytes, 11 * kChunk);
  EXPECT_EQ(data_->bytes.size(), 11 * kChunk);
  EXPECT_EQ(tier_->stats().evicted, 50u - 11u);
}

TEST_F(TierTest, ShardsShareTheLimitsExactly) {
  TierOptions o{.memory_bytes_max = 100 * kChunk + 5000, .file_bytes_max = 67 * kChunk};
  open(o);
  for (uint64_t i = 0; i < 1000; ++i) demand(chunk_of(i, 8192));
  EXPECT_LE(tier_->stats().memory_bytes, o.memory_bytes_max);
  EXPECT_GT(tier_->stats().memory_bytes, o.memory_bytes_max - 16 * 8192);
  EXPECT_EQ(tier_->stats().file_bytes, 67 * kChunk);
}

TEST_F(TierTest, TinyChunksCannotFillTheHostWithBookkeeping) {
  open(1, 0);
  for (uint64_t i = 0; i < 100; ++i) demand(chunk_of(i, 16));
  EXPECT_EQ(tier_->stats().memory_bytes, kChunk);
  EXPECT_EQ(tier_->stats().evicted, 100u - 16u);
}

TEST_F(TierTest, UnusedPrefetchedIsReportedOnceWhenItIsInNeitherLevel) {
  TierOptions o = options(8, 16);  // 2 and 4 on probation
  open(o);
  for (uint64_t i = 100; i < 116; ++i) {
    demand(chunk_of(i));
    write_all();
  }
  const auto chunks = chunks_of(6);
  for (const auto& chunk : chunks) {
    prefetch(chunk);
    write_all();
  }
  EXPECT_EQ(tier_->where(chunks[0]->id), Level::kNone);
  EXPECT_EQ(tier_->where(chunks[2]->id), Level::kFile) << "left memory, which is no reason";
  EXPECT_THAT(unused_, ElementsAre(chunks[0]->id, chunks[1]->id));
  EXPECT_EQ(tier_->stats().evicted_unused, 2u);
  EXPECT_EQ(tier_->stats().probation_bytes, (2 + 4) * kChunk);
}

TEST_F(TierTest, UsedPrefetchedIsNotReported) {
  open(8, 16);
  for (uint64_t i = 50; i < 58; ++i) demand(chunk_of(i));
  const auto chunks = chunks_of(4);
  for (const auto& chunk : chunks) prefetch(chunk);  // memory is full, and holds two of them
  tier_->find_in_memory(chunks[3]->id);              // in memory
  write_all();
  EXPECT_EQ(found(chunks[0]), Level::kFile);  // left memory, used in the file
  demand(chunks[1]);                          // the guest wanted it at the same time
  for (uint64_t i = 100; i < 200; ++i) {
    demand(chunk_of(i));
    write_all();
  }
  EXPECT_EQ(tier_->where(chunks[3]->id), Level::kNone);
  EXPECT_THAT(unused_, ElementsAre(chunks[2]->id));
}

TEST_F(TierTest, UseInMemoryEndsProbationInTheFileToo) {
  open(8, 16);
  const ChunkPtr chunk = chunk_of(1);
  prefetch(chunk);
  write_all();
  EXPECT_EQ(tier_->stats().probation_bytes, 2 * kChunk);
  tier_->find_in_memory(chunk->id);
  EXPECT_EQ(tier_->stats().probation_bytes, 0u);
}

TEST_F(TierTest, PrefetchOfWhatWasUsedIsNoProbation) {
  open(4, 16);
  const auto chunks = chunks_of(10);
  for (const auto& chunk : chunks) demand(chunk);
  write_all();
  ASSERT_EQ(tier_->where(chunks[0]->id), Level::kFile);
  prefetch(chunks[0]);
  EXPECT_EQ(tier_->where(chunks[0]->id), Level::kMemory);
  EXPECT_EQ(tier_->stats().probation_bytes, 0u);
}

TEST_F(TierTest, EraseDropsBothLevelsAndReportsTheUnused) {
  open(8, 8);
  const auto chunks = chunks_of(2);
  demand(chunks[0]);
  prefetch(chunks[1]);
  write_all();
  for (const auto& chunk : chunks) tier_->erase(chunk->id);
  EXPECT_EQ(found(chunks[0]), Level::kNone);
  EXPECT_EQ(found(chunks[1]), Level::kNone);
  EXPECT_EQ(tier_->stats().file_bytes, 0u);
  EXPECT_THAT(unused_, ElementsAre(chunks[1]->id));
  open(8, 8);
  EXPECT_EQ(found(chunks[0]), Level::kNone) << "and does not come back with a restart";
}

TEST_F(TierTest, ErasedWhileWaitingIsNotWritten) {
  open(8, 8);
  demand(chunk_of(1));
  tier_->erase(chunk_of(1)->id);
  EXPECT_EQ(*tier_->write_back(10), 0u);
}

TEST_F(TierTest, NoRoomAtAllReportsAPrefetchedOne) {
  open(0, 0);
  prefetch(chunk_of(1));
  EXPECT_THAT(unused_, ElementsAre(chunk_of(1)->id));
}

TEST_F(TierTest, CallbackMayCallTheTier) {
  open(4, 0);
  std::vector<Level> seen;
  tier_->on_evicted_unused([&](const ChunkId& id) { seen.push_back(tier_->where(id)); });
  for (uint64_t i = 100; i < 104; ++i) demand(chunk_of(i));
  prefetch(chunk_of(1));
  prefetch(chunk_of(2));
  EXPECT_THAT(seen, ElementsAre(Level::kNone));
}

TEST_F(TierTest, RestartIsWarm) {
  const auto chunks = chunks_of(10);
  open(4, 10);
  for (const auto& chunk : chunks) demand(chunk);
  ASSERT_TRUE(tier_->sync());
  EXPECT_GE(data_->flushes, 1u);
  EXPECT_GE(index_->flushes, 1u);
  open(4, 10);
  EXPECT_EQ(tier_->stats().file_bytes, 10 * kChunk);
  for (const auto& chunk : chunks) EXPECT_EQ(found(chunk), Level::kFile);
  EXPECT_EQ(tier_->stats().misses, 0u);
}

TEST_F(TierTest, RestartRemembersProbationAndItsEnd) {
  const auto chunks = chunks_of(2);
  open(40, 40);
  for (const auto& chunk : chunks) prefetch(chunk);
  write_all();
  tier_->find_in_memory(chunks[0]->id);  // after its record said probation
  ASSERT_TRUE(tier_->sync());
  open(40, 40);
  EXPECT_EQ(tier_->stats().probation_bytes, kChunk);
  for (uint64_t i = 100; i < 200; ++i) demand(chunk_of(i));
  EXPECT_THAT(unused_, ElementsAre(chunks[1]->id));
}

TEST_F(TierTest, AgeGoesOnAfterARestart) {
  for (uint64_t life = 0; life < 3; ++life) {
    open(4, 8);
    demand(chunk_of(life));
    ASSERT_TRUE(tier_->sync());
  }
  tier_.reset();
  const auto opened =
      *SlotFile::open(std::make_unique<FakeFile>(data_), std::make_unique<FakeFile>(index_), 8);
  ASSERT_EQ(opened.records.size(), 3u);
  for (uint64_t life = 0; life < 3; ++life) {
    EXPECT_EQ(opened.records[life].id, chunk_of(life)->id);
    EXPECT_EQ(opened.records[life].sequence, life + 1);
  }
}

TEST_F(TierTest, RestartWithOtherShardsAndSizesKeepsWhatFits) {
  const auto chunks = chunks_of(64, 4096);
  open({.memory_bytes_max = 64 * kChunk, .file_bytes_max = 64 * kChunk, .shards = 4});
  for (const auto& chunk : chunks) demand(chunk);
  ASSERT_TRUE(tier_->sync());
  const uint64_t kept = tier_->stats().file_bytes;
  open({.memory_bytes_max = 64 * kChunk, .file_bytes_max = 128 * kChunk, .shards = 1});
  EXPECT_EQ(tier_->stats().file_bytes, kept);
  open({.memory_bytes_max = 64 * kChunk, .file_bytes_max = 32 * kChunk, .shards = 2});
  EXPECT_LE(tier_->stats().file_bytes, 32 * kChunk);
  EXPECT_GE(tier_->stats().file_bytes, 16 * kChunk);
  EXPECT_THAT(unused_, IsEmpty());
  for (const auto& chunk : chunks) found(chunk);  // right or not there
  EXPECT_EQ(tier_->stats().corrupt, 0u);
}

}  // namespace
}  // namespace forerun::tier
