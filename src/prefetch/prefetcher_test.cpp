#include "prefetch/prefetcher.h"

#include "core/rng.h"

namespace forerun::prefetch {
namespace {

using trace::ServedFrom;

// Block n of any component is chunk n; block 0 is zeroes, those from kSmallFrom on compress well.
constexpr uint64_t kSmallFrom = 1'000'000;
repository::ChunkRef chunk_at(uint64_t block) {
  repository::ChunkRef ref;
  if (block == 0) return ref;
  std::memcpy(ref.id.bytes.data(), &block, sizeof block);
  ref.size = 65536;
  ref.stored_size = block < kSmallFrom ? 20000 : 1000;
  return ref;
}

class PrefetcherTest : public testing::Test {
 protected:
  PrefetcherTest() { restart({}); }
  void restart(PrefetcherOptions options) {
    prefetcher_ = std::make_unique<Prefetcher>(
        options, [](ComponentId, uint64_t block) { return chunk_at(block); },
        [this](const ChunkId& id) { return here_.contains(id); });
    prefetcher_->start_vm(kVm, {"replay"}, now_);
  }
  void offer(uint64_t first, uint32_t count, float probability, Nanos due = 0s) {
    const predict::Proposal proposal{ComponentId{1}, first, count, probability, 0, now_ + due};
    prefetcher_->offer(kVm, {&proposal, 1}, now_);
  }
  std::vector<uint64_t> pull() {
    std::vector<PrefetchCommand> commands;
    prefetcher_->pull(now_, commands);
    std::vector<uint64_t> blocks;
    for (const auto& command : commands) {
      uint64_t block = 0;
      std::memcpy(&block, command.chunk.id.bytes.data(), sizeof block);
      if (command.kind == PrefetchCommand::Kind::kWant)
        blocks.push_back(block);
      else
        cancelled_.push_back(block);
    }
    return blocks;
  }
  void arrive(uint64_t block) {
    here_.insert(chunk_at(block).id);
    prefetcher_->on_fetched(chunk_at(block).id, true, now_);
  }
  void read(uint64_t block, ServedFrom from) {
    prefetcher_->on_access({now_, kVm, ComponentId{1}, block, 1, trace::Op::kRead, from, 0}, now_);
  }

  static constexpr VmId kVm{1};
  Time now_ = kTimeZero + 1s;
  std::set<ChunkId> here_;
  std::vector<uint64_t> cancelled_;
  std::unique_ptr<Prefetcher> prefetcher_;
};

TEST_F(PrefetcherTest, LikelyFirstThenByDueTime) {
  offer(10, 1, 0.3f, 1s);
  offer(20, 1, 0.9f, 5s);
  offer(30, 1, 0.9f, 2s);
  EXPECT_THAT(pull(), testing::ElementsAre(30, 20, 10));
}

TEST_F(PrefetcherTest, ASmallChunkGoesBeforeLargeOnesThatAreLikelier) {
  offer(10, 1, 0.9f, 2s);
  offer(20, 1, 0.45f, 1s);
  offer(kSmallFrom, 1, 0.3f, 1s);
  EXPECT_THAT(pull(), testing::ElementsAre(kSmallFrom, 10, 20));
}

TEST_F(PrefetcherTest, SkipsZeroesWhatIsHereAndWhatIsUnderWay) {
  here_.insert(chunk_at(2).id);
  offer(0, 4, 0.9f);
  EXPECT_THAT(pull(), testing::ElementsAre(1, 3));
  offer(1, 3, 0.9f);
  EXPECT_THAT(pull(), testing::IsEmpty());
}

TEST_F(PrefetcherTest, TellsOnceWhatIsForeseenAndHere) {
  std::vector<std::pair<ChunkId, Time>> told;
  prefetcher_->on_need([&](const ChunkId& id, float, Time until) {
    if (!here_.contains(id)) return false;
    told.emplace_back(id, until);
    return true;
  });
  here_.insert(chunk_at(2).id);
  offer(0, 4, 0.9f, 5s);
  offer(2, 1, 0.95f, 3s);  // said again, sooner
  pull();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0], std::pair(chunk_at(2).id, now_ + 5s + PrefetcherOptions{}.patience));
  arrive(1);
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[1].first, chunk_at(1).id);
}

TEST_F(PrefetcherTest, WhatCameMeanwhileIsToldWhenItsTurnComes) {
  std::vector<float> told;
  prefetcher_->on_need([&](const ChunkId& id, float probability, Time) {
    if (here_.contains(id)) told.push_back(probability);
    return here_.contains(id);
  });
  offer(1, 1, 0.9f);
  here_.insert(chunk_at(1).id);  // another VM fetched it
  EXPECT_THAT(pull(), testing::IsEmpty());
  EXPECT_THAT(told, testing::ElementsAre(0.9f));
}

TEST_F(PrefetcherTest, WhatTheGuestAskedForFirstIsNotFetchedAhead) {
  offer(1, 2, 0.9f);
  read(1, ServedFrom::kRepository);
  EXPECT_THAT(pull(), testing::ElementsAre(2));
}

TEST_F(PrefetcherTest, EachChunkIsHitLateOrWastedOnce) {
  offer(1, 4, 0.9f);
  pull();
  arrive(1);
  arrive(3);
  read(1, ServedFrom::kMemory);
  read(1, ServedFrom::kMemory);
  read(2, ServedFrom::kRepository);
  arrive(4);
  prefetcher_->on_evicted_unused(chunk_at(3).id, now_);
  prefetcher_->end_vm(kVm, now_);
  const PrefetchStats stats = prefetcher_->stats(kVm);
  EXPECT_EQ(stats.issued, 4u);
  EXPECT_EQ(stats.hit, 1u);
  EXPECT_EQ(stats.late, 1u);
  EXPECT_EQ(stats.wasted, 2u);
  EXPECT_EQ(stats.undecided, 0u);
}

TEST_F(PrefetcherTest, AReadThatWaitedForOneChunkHitTheOthers) {
  offer(1, 2, 0.9f);
  pull();
  arrive(1);
  prefetcher_->on_access(
      {now_, kVm, ComponentId{1}, 1, 2, trace::Op::kRead, ServedFrom::kRepository, 0}, now_);
  EXPECT_EQ(prefetcher_->stats(kVm).hit, 1u);
  EXPECT_EQ(prefetcher_->stats(kVm).late, 1u);
}

TEST_F(PrefetcherTest, ANewerLowerProbabilityCounts) {
  offer(1, 1, 0.9f);
  offer(2, 1, 0.4f);
  offer(1, 1, 0.1f);
  EXPECT_THAT(pull(), testing::ElementsAre(2, 1));
}

TEST_F(PrefetcherTest, PatienceBeginsWhenItWasOfferedOrDue) {
  now_ += 100s;
  offer(1, 1, 0.9f, -60s);  // said late, by a model whose estimate was early
  offer(2, 1, 0.9f, 40s);
  now_ += 20s;
  EXPECT_THAT(pull(), testing::ElementsAre(1, 2));
  offer(3, 1, 0.9f, -60s);
  offer(4, 1, 0.9f, 1s);
  now_ += 31s;
  EXPECT_THAT(pull(), testing::ElementsAre(4));
}

TEST_F(PrefetcherTest, EndOfVmTakesBackWhatIsQueued) {
  offer(1, 2, 0.9f);
  pull();
  prefetcher_->end_vm(kVm, now_);
  EXPECT_THAT(pull(), testing::IsEmpty());
  EXPECT_THAT(cancelled_, testing::UnorderedElementsAre(1, 2));
  prefetcher_->on_cancelled(chunk_at(1).id, now_);
  arrive(2);  // was in flight already
  EXPECT_EQ(prefetcher_->stats(kVm).cancelled, 1u);
  EXPECT_EQ(prefetcher_->stats(kVm).wasted, 1u);
}

TEST_F(PrefetcherTest, NeverMoreInTheFetchQueueThanStated) {
  PrefetcherOptions options;
  options.handed_over_max = 3;
  restart(options);
  offer(1, 10, 0.9f);
  EXPECT_EQ(pull().size(), 3u);
  EXPECT_EQ(pull().size(), 0u);
  arrive(1);
  EXPECT_EQ(pull().size(), 1u);
}

TEST_F(PrefetcherTest, BudgetFallsToNothingWhenPrefetchesGoUnused) {
  PrefetcherOptions options;
  options.budget.initial_bytes = 10 * 20000;
  options.budget.probe_interval = 1h;
  restart(options);
  uint64_t fetched = 0;
  for (uint64_t round = 0; round < 100; ++round) {
    offer(1 + round * 10, 10, 0.9f);
    for (const uint64_t block : pull()) {
      ++fetched;
      arrive(block);
      prefetcher_->on_evicted_unused(chunk_at(block).id, now_);
    }
    now_ += 1s;
  }
  EXPECT_LT(fetched, 40u);
  EXPECT_LT(prefetcher_->stats(kVm).budget_bytes, 20000u);  // less than one chunk
}

TEST_F(PrefetcherTest, UnusedBeyondThePatienceCountsAgainstTheBudgetAtOnce) {
  PrefetcherOptions options;
  options.budget.initial_bytes = 4 * 20000;
  options.budget.probe_interval = 10h;
  restart(options);
  offer(1, 4, 0.9f);
  for (const uint64_t block : pull()) arrive(block);
  now_ += 10min;
  pull();
  EXPECT_LT(prefetcher_->stats(kVm).budget_bytes, 4u * 20000);
  EXPECT_EQ(prefetcher_->stats(kVm).undecided, 4u);  // still in the tier: a late use is still a hit
}

TEST_F(PrefetcherTest, StaggersToAShareOfTheLink) {
  PrefetcherOptions options;
  options.handed_over_max = 1000;
  options.stagger.burst_bytes = 20000;
  options.budget.initial_bytes = 1 << 30;
  options.budget.max_bytes = 1 << 30;
  options.stagger_ratio = 0.9;
  restart(options);
  prefetcher_->set_link_rate(200000, now_);
  offer(1, 500, 0.9f);
  size_t issued = 0;
  for (int i = 0; i < 100; ++i, now_ += 100ms) issued += pull().size();
  EXPECT_NEAR(static_cast<double>(issued) * 20000, 0.9 * 200000 * 10, 60000);
}

TEST_F(PrefetcherTest, VmsTakeTurns) {
  PrefetcherOptions options;
  options.handed_over_max = 4;
  restart(options);
  prefetcher_->start_vm(VmId{2}, {"replay"}, now_);
  offer(1, 10, 0.9f);
  const predict::Proposal other{ComponentId{1}, 101, 10, 0.9f, 0, now_};
  prefetcher_->offer(VmId{2}, {&other, 1}, now_);
  const auto blocks = pull();
  EXPECT_EQ(std::count_if(blocks.begin(), blocks.end(), [](uint64_t block) { return block > 100; }),
            2);
}

TEST_F(PrefetcherTest, AccountsAddUpUnderRandomEvents) {
  Rng rng(11);
  for (int i = 0; i < 20000; ++i, now_ += 1ms) {
    const uint64_t block = rng.between(1, 400);
    switch (rng.below(6)) {
      case 0:
        offer(block, static_cast<uint32_t>(rng.between(1, 8)), static_cast<float>(rng.unit()));
        break;
      case 1:
        pull();
        break;
      case 2:
        arrive(block);
        break;
      case 3:
        read(block, rng.chance(0.5) ? ServedFrom::kMemory : ServedFrom::kRepository);
        break;
      case 4:
        here_.erase(chunk_at(block).id);
        prefetcher_->on_evicted_unused(chunk_at(block).id, now_);
        break;
      case 5:
        prefetcher_->on_fetched(chunk_at(block).id, false, now_);
        break;
    }
    const PrefetchStats stats = prefetcher_->stats(kVm);
    ASSERT_EQ(stats.issued, stats.hit + stats.late + stats.wasted + stats.undecided);
  }
  EXPECT_GT(prefetcher_->stats(kVm).hit, 0u);
}

}  // namespace
}  // namespace forerun::prefetch
