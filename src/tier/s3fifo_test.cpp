#include "tier/s3fifo.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "core/rng.h"

namespace forerun::tier {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// A cache of entries of size 1 that remembers what it evicted. Each use counts, unless the options
// say otherwise.
class Cache {
 public:
  explicit Cache(uint64_t entries_max, S3FifoOptions options = {.burst_accesses = 0})
      : fifo_([&] {
          options.bytes_max = entries_max;
          return options;
        }()) {}

  bool demand(int id, uint64_t size = 1) { return put(id, size, Admission::kDemand); }
  bool prefetch(int id, uint64_t size = 1) { return put(id, size, Admission::kPrefetch); }
  // A demand access: a use, or an insert.
  bool access(int id) {
    if (fifo_.use(id).value != nullptr) return true;
    demand(id);
    return false;
  }
  std::vector<int> take_evicted() { return std::exchange(evicted_, {}); }
  std::vector<int> take_unused() { return std::exchange(unused_, {}); }
  S3Fifo<int, std::string>& fifo() { return fifo_; }

 private:
  bool put(int id, uint64_t size, Admission admission) {
    std::vector<S3Fifo<int, std::string>::Evicted> out;
    const bool in = fifo_.insert(id, size, std::to_string(id), admission, out);
    for (const auto& entry : out) {
      EXPECT_EQ(entry.value, std::to_string(entry.id));
      (entry.unused ? unused_ : evicted_).push_back(entry.id);
    }
    return in;
  }
  S3Fifo<int, std::string> fifo_;
  std::vector<int> evicted_, unused_;
};

TEST(S3Fifo, ReturnsWhatWasPutIn) {
  Cache cache(10);
  cache.demand(1);
  ASSERT_NE(cache.fifo().use(1).value, nullptr);
  EXPECT_EQ(*cache.fifo().use(1).value, "1");
  EXPECT_EQ(cache.fifo().use(2).value, nullptr);
  EXPECT_TRUE(cache.fifo().contains(1));
  EXPECT_EQ(*cache.fifo().peek(1), "1");
}

TEST(S3Fifo, RefusesWhatIsThereAndWhatNeverFits) {
  Cache cache(10);
  EXPECT_TRUE(cache.demand(1));
  EXPECT_FALSE(cache.demand(1));
  EXPECT_FALSE(cache.demand(2, 11));
  EXPECT_THAT(cache.take_evicted(), IsEmpty());
  EXPECT_EQ(cache.fifo().bytes(), 1u);
}

TEST(S3Fifo, EvictsTheOldestOfTheSmallQueueFirst) {
  Cache cache(10);
  for (int id = 0; id < 12; ++id) cache.demand(id);
  EXPECT_THAT(cache.take_evicted(), ElementsAre(0, 1));
  EXPECT_EQ(cache.fifo().bytes(), 10u);
}

TEST(S3Fifo, OneUseIsNotEnoughForTheMainQueueTwoAre) {
  Cache cache(10);
  for (int id = 0; id < 10; ++id) cache.demand(id);
  cache.fifo().use(0);
  cache.fifo().use(1);
  cache.fifo().use(1);
  for (int id = 100; id < 120; ++id) cache.demand(id);
  EXPECT_FALSE(cache.fifo().contains(0));
  EXPECT_TRUE(cache.fifo().contains(1));
}

TEST(S3Fifo, UsesInTheSmallQueueDoNotCountInTheMainQueue) {
  Cache cache(10);
  for (int id = 0; id < 10; ++id) cache.demand(id);
  for (int id = 0; id < 10; ++id) {
    for (int use = 0; use < (id == 0 ? 3 : 2); ++use) cache.fifo().use(id);
  }
  cache.demand(100);
  EXPECT_THAT(cache.take_evicted(), ElementsAre(0)) << "the oldest, whatever it did before";
}

TEST(S3Fifo, UsedInTheMainQueueGoesRoundAgain) {
  Cache cache(10);
  for (int id = 0; id < 10; ++id) {
    cache.demand(id);
    cache.fifo().use(id);
    cache.fifo().use(id);
  }
  cache.demand(100);  // all others are in the main queue now, and 0 left it
  cache.fifo().use(1);
  cache.fifo().use(100);
  cache.fifo().use(100);
  cache.take_evicted();
  cache.demand(101);
  EXPECT_THAT(cache.take_evicted(), ElementsAre(2));
}

TEST(S3Fifo, GhostComesBackIntoTheMainQueue) {
  Cache cache(10);
  for (int id = 0; id < 11; ++id) cache.demand(id);  // 0 is now a ghost
  ASSERT_FALSE(cache.fifo().contains(0));
  cache.demand(0);
  for (int id = 100; id < 150; ++id) cache.demand(id);
  EXPECT_TRUE(cache.fifo().contains(0));
}

TEST(S3Fifo, RemembersNoMoreGhostsThanTheMainQueueHolds) {
  Cache cache(100);
  for (int id = 0; id < 5000; ++id) cache.demand(id);
  EXPECT_LE(cache.fifo().ghost_bytes(), 90u);
  EXPECT_GE(cache.fifo().ghost_bytes(), 80u);
}

TEST(S3Fifo, HotSetSurvivesAScanOfTenTimesTheCache) {
  Cache cache(1000);
  for (int round = 0; round < 3; ++round) {
    for (int id = 0; id < 500; ++id) cache.access(id);
  }
  for (int id = 10000; id < 20000; ++id) cache.access(id);
  int kept = 0;
  for (int id = 0; id < 500; ++id) kept += cache.fifo().contains(id) ? 1 : 0;
  EXPECT_EQ(kept, 500);
}

// One file read once, in pieces smaller than an entry, is no reason to forget what is read again
// and again.
TEST(S3Fifo, SequentialReaderTouchingEachEntryOftenIsStillAScan) {
  Cache cache(1000, S3FifoOptions{});
  for (int round = 0; round < 3; ++round) {
    for (int id = 0; id < 500; ++id) cache.access(id);
  }
  for (int id = 10000; id < 20000; ++id) {
    for (int piece = 0; piece < 16; ++piece) cache.access(id);
  }
  int kept = 0;
  for (int id = 0; id < 500; ++id) kept += cache.fifo().contains(id) ? 1 : 0;
  EXPECT_EQ(kept, 500);
}

TEST(S3Fifo, UsesFurtherApartThanABurstCount) {
  Cache cache(100, {.burst_accesses = 3});
  for (int id = 0; id < 10; ++id) cache.demand(id);
  EXPECT_TRUE(cache.fifo().use(0).counted);
  EXPECT_FALSE(cache.fifo().use(0).counted);
  EXPECT_FALSE(cache.fifo().use(0).counted);
  EXPECT_TRUE(cache.fifo().use(0).counted);
}

TEST(S3Fifo, BurstIsShortInASmallCache) {
  Cache cache(100, S3FifoOptions{});
  for (int id = 0; id < 4; ++id) cache.demand(id);
  EXPECT_TRUE(cache.fifo().use(0).counted);
  EXPECT_FALSE(cache.fifo().use(0).counted);
  EXPECT_TRUE(cache.fifo().use(0).counted);
}

TEST(S3Fifo, FirstUsesOfAPrefetchedEntryInARowAreOne) {
  Cache cache(100, S3FifoOptions{});
  for (int id = 0; id < 20; ++id) cache.demand(id);
  cache.prefetch(50);
  EXPECT_TRUE(cache.fifo().use(50).ended_probation);
  EXPECT_FALSE(cache.fifo().use(50).counted);
}

TEST(S3Fifo, PrefetchedMayFillWhatNobodyElseNeeds) {
  Cache cache(100, {.probation_ratio = 0.10, .burst_accesses = 0});
  for (int id = 0; id < 50; ++id) cache.demand(id);
  for (int id = 100; id < 150; ++id) cache.prefetch(id);
  EXPECT_THAT(cache.take_unused(), IsEmpty());
  EXPECT_EQ(cache.fifo().probation_bytes(), 50u);
}

TEST(S3Fifo, PrefetchedBeyondItsShareOfAFullCacheLeavesFirstOldestFirst) {
  Cache cache(100, {.probation_ratio = 0.10, .burst_accesses = 0});
  for (int id = 0; id < 88; ++id) cache.demand(id);
  for (int id = 100; id < 114; ++id) cache.prefetch(id);
  EXPECT_THAT(cache.take_unused(), ElementsAre(100, 101));
  for (int id = 88; id < 90; ++id) cache.demand(id);
  EXPECT_THAT(cache.take_unused(), ElementsAre(102, 103));
  EXPECT_THAT(cache.take_evicted(), IsEmpty());
  cache.demand(90);
  EXPECT_THAT(cache.take_evicted(), ElementsAre(0)) << "what holds no more than its share stays";
  EXPECT_EQ(cache.fifo().probation_bytes(), 10u);
}

TEST(S3Fifo, FirstUseOfAPrefetchedEntryIsItsDemandNoSecondUse) {
  Cache cache(10);
  cache.prefetch(1);
  EXPECT_TRUE(cache.fifo().on_probation(1));
  EXPECT_TRUE(cache.fifo().use(1).ended_probation);
  EXPECT_FALSE(cache.fifo().on_probation(1));
  EXPECT_FALSE(cache.fifo().use(1).ended_probation);
  for (int id = 100; id < 120; ++id) cache.demand(id);
  EXPECT_THAT(cache.take_unused(), IsEmpty());
  EXPECT_FALSE(cache.fifo().contains(1)) << "used twice, so re-used once: not for the main queue";
}

TEST(S3Fifo, PrefetchedGhostGoesToTheMainQueueWhenUsed) {
  Cache cache(10);
  for (int id = 0; id < 11; ++id) cache.demand(id);
  ASSERT_FALSE(cache.fifo().contains(0));
  cache.prefetch(0);
  cache.fifo().use(0);
  for (int id = 100; id < 150; ++id) cache.demand(id);
  EXPECT_TRUE(cache.fifo().contains(0));
}

TEST(S3Fifo, UnusedPrefetchedDoNotOutliveTheDemandOfTheirShare) {
  Cache cache(100, {.probation_ratio = 0.20, .burst_accesses = 0});
  for (int id = 0; id < 20; ++id) cache.prefetch(id);
  for (int id = 100; id < 180; ++id) cache.demand(id);  // full, and 80 demanded since
  cache.demand(180);
  EXPECT_THAT(cache.take_unused(), ElementsAre(0));
  for (int id = 181; id < 200; ++id) cache.demand(id);
  EXPECT_EQ(cache.fifo().probation_bytes(), 0u);
  EXPECT_EQ(cache.take_unused().size(), 19u);
}

TEST(S3Fifo, FreshPrefetchedOutliveAFewDemands) {
  Cache cache(100, {.probation_ratio = 0.20, .burst_accesses = 0});
  for (int id = 100; id < 200; ++id) cache.demand(id);
  cache.take_evicted();
  for (int id = 0; id < 20; ++id) cache.prefetch(id);
  for (int id = 200; id < 215; ++id) cache.demand(id);
  EXPECT_THAT(cache.take_unused(), IsEmpty());
}

TEST(S3Fifo, ShareSmallerThanOneEntryStillHoldsOne) {
  Cache cache(3, {.probation_ratio = 0.10, .burst_accesses = 0});
  for (int id = 10; id < 13; ++id) cache.demand(id);
  EXPECT_TRUE(cache.prefetch(1));
  EXPECT_TRUE(cache.prefetch(2));
  EXPECT_THAT(cache.take_unused(), ElementsAre(1));
}

TEST(S3Fifo, NoShareTakesNoPrefetched) {
  Cache cache(100, {.probation_ratio = 0, .burst_accesses = 0});
  EXPECT_FALSE(cache.prefetch(1));
  EXPECT_EQ(cache.fifo().bytes(), 0u);
}

TEST(S3Fifo, RestoredEntriesStandScansLikeTheMainQueue) {
  Cache cache(100);
  std::vector<S3Fifo<int, std::string>::Evicted> out;
  for (int id = 0; id < 90; ++id) {
    ASSERT_TRUE(cache.fifo().restore(id, 1, std::to_string(id), Admission::kDemand, out));
  }
  for (int id = 1000; id < 2000; ++id) cache.demand(id);
  for (int id = 0; id < 90; ++id) ASSERT_TRUE(cache.fifo().contains(id)) << id;
}

TEST(S3Fifo, ErasedIsForgotten) {
  Cache cache(10);
  cache.prefetch(1);
  cache.demand(2);
  const auto first = cache.fifo().erase(1);
  ASSERT_TRUE(first);
  EXPECT_TRUE(first->unused);
  EXPECT_EQ(first->value, "1");
  EXPECT_FALSE(cache.fifo().erase(2)->unused);
  EXPECT_FALSE(cache.fifo().erase(2));
  EXPECT_EQ(cache.fifo().bytes(), 0u);
}

// Against a plain model of what is in: sizes of all kinds, all operations.
TEST(S3Fifo, KeepsItsLimitsAndItsBooksUnderRandomUse) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Rng rng(seed);
    S3Fifo<int, std::string> fifo(
        {.bytes_max = 1000, .probation_ratio = 0.2, .probation_ratio_max = 0.2});
    std::map<int, uint64_t> held;
    std::vector<S3Fifo<int, std::string>::Evicted> out;
    for (int step = 0; step < 1500; ++step) {
      const int id = static_cast<int>(rng.below(100));
      const uint64_t size = rng.between(1, 60);
      const uint64_t what = rng.below(10);
      if (what < 5) {
        const auto use = fifo.use(id);
        ASSERT_EQ(use.value != nullptr, held.contains(id));
      } else if (what < 9) {
        const Admission as = what < 7 ? Admission::kDemand : Admission::kPrefetch;
        ASSERT_EQ(fifo.insert(id, size, std::to_string(id), as, out), !held.contains(id));
        held.try_emplace(id, size);
      } else {
        ASSERT_EQ(fifo.erase(id).has_value(), held.erase(id) == 1);
      }
      bool used_left = false;
      for (const auto& entry : out) {
        ASSERT_EQ(held.erase(entry.id), 1u);
        used_left = used_left || !entry.unused;
      }
      out.clear();
      uint64_t bytes = 0;
      for (const auto& [_, held_size] : held) bytes += held_size;
      ASSERT_EQ(fifo.bytes(), bytes);
      ASSERT_LE(bytes, 1000u);
      if (used_left) ASSERT_LE(fifo.probation_bytes(), 200u) << "unused ones leave before";
      ASSERT_LE(fifo.ghost_bytes(), 900u);
    }
  }
}

}  // namespace
}  // namespace forerun::tier
