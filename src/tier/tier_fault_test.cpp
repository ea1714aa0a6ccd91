// What damaged, full and lying disks do to the tier: chunks are missed, never wrong.
#include "core/rng.h"
#include "tier/tier_fixture.h"

namespace forerun::tier {
namespace {

using repository::ChunkPtr;
using testing::IsEmpty;

class TierFaultTest : public TierFixture {
 protected:
  // Leaves `count` chunks in slots 0, 1, … and none in memory.
  std::vector<ChunkPtr> store(size_t count) {
    const auto chunks = chunks_of(count);
    open(1, count);
    for (const auto& chunk : chunks) demand(chunk);
    EXPECT_TRUE(tier_->sync());
    open(1, count);
    return chunks;
  }
};

TEST_F(TierFaultTest, FlippedBitIsAMissCountedAndDropped) {
  const auto chunks = store(4);
  data_->flip(2 * kChunk + 12345);
  EXPECT_EQ(found(chunks[2]), Level::kNone);
  EXPECT_EQ(tier_->stats().corrupt, 1u);
  EXPECT_EQ(tier_->stats().misses, 1u);
  EXPECT_EQ(tier_->where(chunks[2]->id), Level::kNone);
  EXPECT_EQ(found(chunks[2]), Level::kNone);
  EXPECT_EQ(tier_->stats().corrupt, 1u) << "dropped the first time";
  EXPECT_EQ(found(chunks[1]), Level::kFile);
}

TEST_F(TierFaultTest, DroppedSlotIsUsedAgainAndNotFoundAfterARestart) {
  const auto chunks = store(4);
  data_->flip(2 * kChunk);
  found(chunks[2]);
  open(1, 4);
  EXPECT_EQ(tier_->where(chunks[2]->id), Level::kNone);
  demand(chunks[2]);
  write_all();
  open(1, 4);
  EXPECT_EQ(found(chunks[2]), Level::kFile);
}

TEST_F(TierFaultTest, SwappedSlotsAreNeverServed) {
  const auto chunks = store(4);
  const auto slot = [&](size_t i) {
    return data_->bytes.begin() + static_cast<ptrdiff_t>(i * kChunk);
  };
  std::swap_ranges(slot(0), slot(1), slot(3));
  EXPECT_EQ(found(chunks[0]), Level::kNone);
  EXPECT_EQ(found(chunks[3]), Level::kNone);
  EXPECT_EQ(found(chunks[1]), Level::kFile);
  EXPECT_EQ(tier_->stats().corrupt, 2u);
}

TEST_F(TierFaultTest, DataTruncatedBehindOurBackIsAMiss) {
  const auto chunks = store(4);
  data_->bytes.resize(2 * kChunk + 100);
  EXPECT_EQ(found(chunks[1]), Level::kFile);
  EXPECT_EQ(found(chunks[2]), Level::kNone);
  EXPECT_EQ(found(chunks[3]), Level::kNone);
  EXPECT_EQ(tier_->stats().corrupt, 2u);
}

TEST_F(TierFaultTest, DataTruncatedBeforeTheStartIsForgotten) {
  const auto chunks = store(4);
  data_->bytes.resize(2 * kChunk + 100);
  open(1, 4);
  EXPECT_EQ(tier_->where(chunks[1]->id), Level::kFile);
  EXPECT_EQ(tier_->where(chunks[2]->id), Level::kNone);
  EXPECT_EQ(tier_->stats().corrupt, 0u);
}

TEST_F(TierFaultTest, ForeignIndexStartsEmptyAndWorks) {
  const auto chunks = store(4);
  index_->bytes.assign(5000, std::byte{0x42});
  open(1, 4);
  EXPECT_EQ(tier_->stats().file_bytes, 0u);
  for (const auto& chunk : chunks) demand(chunk);
  ASSERT_TRUE(tier_->sync());
  open(1, 4);
  for (const auto& chunk : chunks) EXPECT_EQ(found(chunk), Level::kFile);
}

TEST_F(TierFaultTest, IndexOfAnotherDataFileServesNothing) {
  const auto chunks = store(4);
  data_->bytes.assign(4 * kChunk, std::byte{1});
  for (const auto& chunk : chunks) EXPECT_EQ(found(chunk), Level::kNone);
  EXPECT_EQ(tier_->stats().corrupt, 4u);
}

TEST_F(TierFaultTest, UnreadableIndexLeavesATierOfMemory) {
  store(4);
  index_->fail_reads = ErrorCode::kIo;
  open(4, 4);
  const ChunkPtr chunk = chunk_of(99);
  demand(chunk);
  EXPECT_EQ(found(chunk), Level::kMemory);
  EXPECT_EQ(tier_->stats().file_bytes, 0u);
}

TEST_F(TierFaultTest, ReadErrorIsAMissAndDropsTheChunk) {
  const auto chunks = store(2);
  data_->fail_reads = ErrorCode::kIo;
  EXPECT_EQ(found(chunks[0]), Level::kNone);
  data_->fail_reads.reset();
  EXPECT_EQ(found(chunks[0]), Level::kNone);
  EXPECT_EQ(found(chunks[1]), Level::kFile);
}

TEST_F(TierFaultTest, FullDiskLeavesMemoryAndWhatIsStored) {
  const auto stored = store(4);
  data_->size_limit = 0;
  testing::internal::CaptureStderr();
  for (uint64_t i = 100; i < 104; ++i) {
    demand(chunk_of(i));
    const auto written = tier_->write_back(10);
    if (i > 100) {
      EXPECT_TRUE(written) << "given up until later";
      continue;
    }
    ASSERT_FALSE(written);
    EXPECT_EQ(written.error().code, ErrorCode::kNoSpace);
  }
  const std::string log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 1) << log;
  EXPECT_EQ(tier_->stats().write_back_dropped, 4u);
  EXPECT_EQ(found(chunk_of(103)), Level::kMemory);
  EXPECT_EQ(found(stored[3]), Level::kFile);
  const Status synced = tier_->sync();
  ASSERT_FALSE(synced);
  EXPECT_EQ(synced.error().code, ErrorCode::kNoSpace);
}

TEST_F(TierFaultTest, WritesAgainOnceTheDiskHasRoom) {
  open(4, 8);
  data_->size_limit = 0;
  demand(chunk_of(1));
  ASSERT_FALSE(tier_->write_back(10));
  data_->size_limit = UINT64_MAX;
  const auto small = chunks_of(1025, 64);
  for (const auto& chunk : small) demand(chunk);
  EXPECT_EQ(*tier_->write_back(10), 1u);
  EXPECT_TRUE(tier_->sync());
  EXPECT_EQ(tier_->stats().write_back_dropped, 1u + 1024u);
}

TEST_F(TierFaultTest, FullDiskReportsPrefetchedThatAreNowNowhere) {
  open(4, 40);  // one on probation in memory, ten in the file
  data_->size_limit = 0;
  for (uint64_t i = 100; i < 104; ++i) demand(chunk_of(i));
  for (const auto& chunk : chunks_of(5)) prefetch(chunk);
  EXPECT_THAT(unused_, IsEmpty());
  ASSERT_FALSE(tier_->write_back(10));
  EXPECT_EQ(unused_.size(), 4u);
}

// A reader that was overtaken finds another chunk in the slot: a miss, but no fault of the disk.
TEST_F(TierFaultTest, SlotReusedDuringAReadIsNotCalledCorrupt) {
  const auto chunks = store(1);
  data_->on_read = [&] {
    data_->on_read = nullptr;
    tier_->erase(chunks[0]->id);
    demand(chunk_of(50));
    write_all();
  };
  EXPECT_EQ(found(chunks[0]), Level::kNone);
  EXPECT_EQ(tier_->stats().corrupt, 0u);
  EXPECT_EQ(tier_->stats().misses, 1u);
  EXPECT_EQ(found(chunk_of(50)), Level::kMemory);
  EXPECT_EQ(tier_->stats().file_bytes, kChunk);
}

TEST_F(TierFaultTest, SlotThatIsBeingReadIsNotGivenAway) {
  const auto chunks = store(1);
  data_->on_read = [&] {
    data_->on_read = nullptr;
    demand(chunk_of(50));
    write_all();
  };
  EXPECT_EQ(found(chunks[0]), Level::kFile);
  for (uint64_t i = 60; i < 70; ++i) demand(chunk_of(i));
  write_all();
  EXPECT_EQ(tier_->where(chunks[0]->id), Level::kNone) << "free again after the read";
}

// The same chunk, back in the same slot: the version tells the two stays apart.
TEST_F(TierFaultTest, SlotLeftAndTakenAgainDuringAReadKeepsTheNewStay) {
  const auto chunks = store(1);
  data_->on_read = [&] {
    data_->on_read = nullptr;
    tier_->erase(chunks[0]->id);
    demand(chunks[0]);
    write_all();
    data_->flip(5);  // half-written, as this reader sees it
  };
  EXPECT_EQ(found(chunks[0]), Level::kNone);
  data_->flip(5);
  EXPECT_EQ(tier_->stats().corrupt, 0u);
  EXPECT_EQ(tier_->stats().file_bytes, kChunk);
  open(1, 1);
  EXPECT_EQ(found(chunks[0]), Level::kFile);
}

TEST_F(TierFaultTest, ErasedDuringItsWriteIsNotStoredAndItsSlotIsFree) {
  open(4, 1);
  demand(chunk_of(1));
  data_->on_write = [&] {
    data_->on_write = nullptr;
    tier_->erase(chunk_of(1)->id);
  };
  EXPECT_EQ(*tier_->write_back(10), 0u);
  EXPECT_EQ(tier_->where(chunk_of(1)->id), Level::kNone);
  demand(chunk_of(2));
  EXPECT_EQ(*tier_->write_back(10), 1u);
  open(4, 1);
  EXPECT_EQ(tier_->where(chunk_of(1)->id), Level::kNone);
  EXPECT_EQ(found(chunk_of(2)), Level::kFile);
}

// Whatever is flipped, anywhere, no read ever gives a wrong byte (checked in found()).
TEST_F(TierFaultTest, RandomDamageIsNeverServed) {
  const auto chunks = chunks_of(8, 3000);
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    Rng rng(seed);
    data_->bytes.clear();
    index_->bytes.clear();
    open(1, 8);
    for (const auto& chunk : chunks) demand(chunk);
    ASSERT_TRUE(tier_->sync());
    for (int i = 0; i < 8; ++i) {
      FakeDisk& disk = rng.chance(0.5) ? *data_ : *index_;
      disk.flip(rng.below(disk.bytes.size()));
    }
    open(1, 8);
    for (const auto& chunk : chunks) found(chunk);
  }
}

}  // namespace
}  // namespace forerun::tier
