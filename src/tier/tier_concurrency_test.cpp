// Several threads on one small tier; run under TSan (cmake --preset tsan).
#include <thread>

#include "core/rng.h"
#include "tier/tier_fixture.h"

namespace forerun::tier {
namespace {

using repository::ChunkPtr;

class TierConcurrencyTest : public TierFixture {
 protected:
  const std::vector<ChunkPtr> chunks_ = chunks_of(60);
  std::atomic<uint64_t> wrong_{0};

  void check(const ChunkPtr& asked, const ChunkPtr& got) {
    if (got != nullptr && got->content != asked->content) ++wrong_;
  }
  void work(uint64_t seed, int steps) {
    Rng rng(seed);
    for (int i = 0; i < steps; ++i) {
      const ChunkPtr& chunk = chunks_[rng.below(chunks_.size())];
      switch (rng.below(8)) {
        case 0:
          demand(chunk);
          break;
        case 1:
          prefetch(chunk);
          break;
        case 2:
          tier_->erase(chunk->id);
          break;
        case 3:
          tier_->where(chunk->id);
          break;
        case 4:
          check(chunk, tier_->find_in_memory(chunk->id));
          break;
        default:
          check(chunk, tier_->find(chunk->id));
      }
    }
  }
};

TEST_F(TierConcurrencyTest, ReadersWritersAndErasersAgree) {
  constexpr uint64_t kSlots = 36;  // 16 chunks a shard, so that there are two
  open({.memory_bytes_max = 33 * kChunk, .file_bytes_max = kSlots * kChunk, .shards = 2});
  std::atomic<uint64_t> reported{0};
  tier_->on_evicted_unused([&](const ChunkId&) { ++reported; });
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    while (!stop) EXPECT_TRUE(tier_->write_back(3));
  });
  std::vector<std::thread> workers;
  for (uint64_t seed = 1; seed <= 3; ++seed) workers.emplace_back([&, seed] { work(seed, 600); });
  for (auto& worker : workers) worker.join();
  stop = true;
  writer.join();

  const TierStats stats = tier_->stats();
  EXPECT_EQ(wrong_, 0u);
  EXPECT_EQ(stats.corrupt, 0u) << "no disk was at fault";
  EXPECT_EQ(stats.evicted_unused, reported);
  EXPECT_LE(stats.memory_bytes, 33 * kChunk);
  EXPECT_LE(stats.file_bytes, kSlots * kChunk);
  // No slot was lost on the way: as many chunks as there are slots can be stored.
  for (const auto& chunk : chunks_) tier_->erase(chunk->id);
  EXPECT_EQ(tier_->stats().file_bytes, 0u);
  for (uint64_t i = 1000; i < 1200; ++i) demand(chunk_of(i, 64));
  ASSERT_TRUE(tier_->sync());
  EXPECT_EQ(tier_->stats().write_back_dropped, stats.write_back_dropped);
  EXPECT_EQ(tier_->stats().file_bytes, kSlots * kChunk);
}

TEST_F(TierConcurrencyTest, TheWriterMayRunBeforeAnyoneHearsOfEvictions) {
  auto opened = Tier::open(options(4, 4), std::make_unique<FakeFile>(data_),
                           std::make_unique<FakeFile>(index_));
  ASSERT_TRUE(opened);
  tier_ = std::move(*opened);
  std::atomic<uint64_t> rounds{0};
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    while (!stop) {
      EXPECT_TRUE(tier_->write_back(3));
      rounds.fetch_add(1, std::memory_order_relaxed);  // which orders nothing
    }
  });
  while (rounds.load(std::memory_order_relaxed) == 0) std::this_thread::yield();
  std::atomic<uint64_t> reported{0};
  tier_->on_evicted_unused([&](const ChunkId&) { ++reported; });
  for (const ChunkPtr& chunk : chunks_) prefetch(chunk);
  stop = true;
  writer.join();
  EXPECT_GT(reported, 0u);
  EXPECT_EQ(reported, tier_->stats().evicted_unused);
}

}  // namespace
}  // namespace forerun::tier
