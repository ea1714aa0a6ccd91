// Random operations against what must always hold: right content, exact limits, and one end for
// every prefetched chunk.
#include <map>

#include "core/rng.h"
#include "tier/tier_fixture.h"

namespace forerun::tier {
namespace {

using repository::ChunkPtr;

class TierModelTest : public TierFixture {
 protected:
  static constexpr uint64_t kMemoryChunks = 8;
  static constexpr uint64_t kFileChunks = 20;

  void reopen() {
    held_.clear();
    limit_ = kMemoryChunks * kChunk;
    open({.memory_bytes_max = kMemoryChunks * kChunk,
          .file_bytes_max = kFileChunks * kChunk,
          .write_back_chunks_max = 6,
          .shards = 1});
    tier_->on_evicted_unused([this](const ChunkId& id) {
      EXPECT_EQ(outstanding_.erase(id) + inherited_.erase(id), 1u)
          << "told of a chunk that was used, or told twice";
      EXPECT_EQ(tier_->where(id), Level::kNone);
    });
  }

  void step(Rng& rng) {
    const ChunkPtr& chunk = chunks_[rng.below(chunks_.size())];
    const uint64_t what = rng.below(100);
    if (what < 25) {
      use(chunk);
    } else if (what < 50) {
      if (const ChunkPtr got = tier_->find_in_memory(chunk->id)) {
        ASSERT_EQ(got->content, chunk->content);
        now_used(chunk->id);
        if (held_.size() < kHeldMax) held_[chunk->id] = got;
      }
    } else if (what < 65) {
      now_used(chunk->id);
      demand(chunk);
    } else if (what < 85) {
      if (tier_->where(chunk->id) == Level::kNone) {
        inherited_.erase(chunk->id);
        outstanding_.insert(chunk->id);
      }
      prefetch(chunk);
    } else if (what < 89) {
      ASSERT_TRUE(tier_->write_back(rng.below(4)));
    } else if (what < 91) {
      limit_ = rng.between(kHeldMax, kMemoryChunks) * kChunk;
      tier_->set_memory_limit(limit_);
    } else if (what < 94) {
      tier_->tick(now_ += 1s);
      tier_->need(chunk->id, rng.unit(), now_ + 5s);
    } else if (what < 97) {
      if (!held_.empty()) held_.erase(held_.begin());
    } else if (what < 99) {
      held_.erase(chunk->id);
      tier_->erase(chunk->id);
      ASSERT_EQ(tier_->where(chunk->id), Level::kNone);
    } else {
      damage(rng);
    }
  }

  // A find is a use even if it then finds the content damaged: what was foreseen was wanted.
  void use(const ChunkPtr& chunk) {
    now_used(chunk->id);
    if (found(chunk) == Level::kNone) ASSERT_EQ(tier_->where(chunk->id), Level::kNone);
  }

  void now_used(const ChunkId& id) {
    outstanding_.erase(id);
    inherited_.erase(id);
  }

  void damage(Rng& rng) {
    FakeDisk& disk = rng.chance(0.7) ? *data_ : *index_;
    if (!disk.bytes.empty()) disk.flip(rng.below(disk.bytes.size()));
  }

  void check_limits() {
    const TierStats stats = tier_->stats();
    ASSERT_LE(stats.memory_bytes, limit_);
    // A chunk that a read holds is where it was.
    for (const auto& [id, chunk] : held_) ASSERT_EQ(tier_->where(id), Level::kMemory);
    const PoolStats pool = tier_->pool();
    ASSERT_EQ(pool.reserved_bytes + pool.prefetched_bytes + pool.used_bytes, stats.memory_bytes);
    ASSERT_LE(pool.in_use_bytes, pool.reserved_bytes);
    ASSERT_EQ(pool.limit_bytes, limit_);
    ASSERT_LE(stats.file_bytes, kFileChunks * kChunk);
    ASSERT_LE(data_->bytes.size(), kFileChunks * kChunk);
    ASSERT_LE(index_->bytes.size(), (kFileChunks + 1) * kSlotRecordSize);
  }

  const std::vector<ChunkPtr> chunks_ = chunks_of(40, 5000);
  static constexpr size_t kHeldMax = 3;
  std::map<ChunkId, ChunkPtr> held_;  // by reads
  uint64_t limit_ = 0;
  Time now_ = kTimeZero;
  std::set<ChunkId> outstanding_;  // prefetched in this life, and neither used nor reported
  std::set<ChunkId> inherited_;    // here since an earlier life, perhaps unused
};

TEST_F(TierModelTest, HoldsUnderRandomUseDamageAndRestarts) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    data_->bytes.clear();
    index_->bytes.clear();
    for (int life = 0; life < 2; ++life) {
      outstanding_.clear();
      inherited_.clear();
      reopen();
      for (const auto& chunk : chunks_) {
        if (tier_->where(chunk->id) != Level::kNone) inherited_.insert(chunk->id);
      }
      for (int i = 0; i < 400 && !HasFatalFailure(); ++i) {
        step(rng);
        check_limits();
      }
      // Nothing is lost from the books: what is outstanding is still here.
      for (const ChunkId& id : outstanding_) ASSERT_NE(tier_->where(id), Level::kNone);
      ASSERT_TRUE(tier_->sync());
    }
  }
}

}  // namespace
}  // namespace forerun::tier
