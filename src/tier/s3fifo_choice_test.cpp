// Who leaves: by worth, never what is in use, and what the share of the prefetched follows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "core/rng.h"
#include "tier/s3fifo.h"

namespace forerun::tier {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// What the judge of a test says; whatever it does not know is worth 1 and free.
struct Opinions {
  std::map<int, double> worth;
  std::set<int> in_use;
};

struct OpinionJudge {
  const Opinions* opinions;
  Standing operator()(int id, int /*value*/, uint64_t /*size*/, uint8_t /*uses*/) const {
    const auto known = opinions->worth.find(id);
    return {known == opinions->worth.end() ? 1.0 : known->second, opinions->in_use.contains(id)};
  }
};

using Fifo = S3Fifo<int, int, OpinionJudge>;

class S3FifoChoice : public testing::Test {
 protected:
  void open(uint64_t entries_max, S3FifoOptions options = {}) {
    options.bytes_max = entries_max;
    options.burst_accesses = 0;
    if (options.candidates_max == 1) options.candidates_max = 8;
    fifo_.emplace(options, OpinionJudge{&opinions_});
  }
  bool put(int id, Admission admission, uint64_t size = 1) {
    return fifo_->insert(id, size, id, admission, evicted_);
  }
  bool demand(int id) { return put(id, Admission::kDemand); }
  bool prefetch(int id) { return put(id, Admission::kPrefetch); }
  void demand_all(int first, int end) {
    for (int id = first; id < end; ++id) demand(id);
  }
  std::vector<int> take_evicted() {
    std::vector<int> ids;
    for (const auto& entry : std::exchange(evicted_, {})) ids.push_back(entry.id);
    return ids;
  }

  Opinions opinions_;
  std::optional<Fifo> fifo_;
  std::vector<Fifo::Evicted> evicted_;
};

TEST_F(S3FifoChoice, LeastWorthAmongTheOldestLeaves) {
  open(10);
  demand_all(0, 10);
  opinions_.worth[3] = 0.5;
  demand(10);
  EXPECT_THAT(take_evicted(), ElementsAre(3));
  demand(11);
  EXPECT_THAT(take_evicted(), ElementsAre(0)) << "alike: the oldest";
}

TEST_F(S3FifoChoice, OnlyTheOldestAreLookedAt) {
  open(10, {.candidates_max = 2});
  demand_all(0, 10);
  opinions_.worth[3] = 0.5;
  demand(10);
  EXPECT_THAT(take_evicted(), ElementsAre(0));
}

TEST_F(S3FifoChoice, DearOnesGoRoundButNotForEver) {
  open(10);
  demand_all(0, 10);
  opinions_.worth[0] = 100;
  demand_all(10, 30);
  EXPECT_TRUE(fifo_->contains(0));
  EXPECT_EQ(take_evicted().size(), 20u);
  demand_all(30, 130);
  EXPECT_FALSE(fifo_->contains(0)) << "each round halves what it is worth";
}

TEST_F(S3FifoChoice, UseMakesADearOneWorthAllAgain) {
  open(10);
  demand_all(0, 10);
  opinions_.worth[0] = 100;
  for (int id = 10; id < 200; ++id) {
    demand(id);
    if (id % 20 == 0) fifo_->use(0);
  }
  EXPECT_TRUE(fifo_->contains(0));
}

TEST_F(S3FifoChoice, PrefetchedThatAreNeededOutliveTheOthers) {
  open(100, {.probation_ratio = 0.10});
  demand_all(100, 190);
  for (int id = 0; id < 10; ++id) prefetch(id);
  opinions_.worth[0] = 9;
  for (int id = 10; id < 15; ++id) prefetch(id);
  EXPECT_THAT(take_evicted(), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_TRUE(fifo_->on_probation(0));
}

TEST_F(S3FifoChoice, WhatIsInUseNeverLeaves) {
  open(10);
  demand_all(0, 10);
  opinions_.in_use = {0, 1, 2};
  demand_all(10, 200);
  for (const int id : opinions_.in_use) EXPECT_TRUE(fifo_->contains(id)) << id;
  opinions_.in_use.clear();
  demand_all(200, 230);
  for (const int id : {0, 1, 2}) EXPECT_FALSE(fifo_->contains(id)) << id;
}

TEST_F(S3FifoChoice, RefusesANewEntryIfAllIsInUse) {
  open(4);
  demand_all(0, 3);
  prefetch(3);
  opinions_.in_use = {0, 1, 2, 3};
  EXPECT_FALSE(demand(4));
  EXPECT_FALSE(prefetch(5));
  EXPECT_THAT(take_evicted(), IsEmpty());
  EXPECT_EQ(fifo_->bytes(), 4u);
  opinions_.in_use.erase(2);
  EXPECT_TRUE(demand(4));
  EXPECT_THAT(take_evicted(), ElementsAre(2));
}

TEST_F(S3FifoChoice, ALowerLimitTakesTheLeastWorthFirst) {
  open(20, {.probation_ratio = 0.10});
  demand_all(0, 16);
  for (int id = 16; id < 20; ++id) prefetch(id);
  opinions_.worth[0] = 10;
  fifo_->set_bytes_max(10, evicted_);
  EXPECT_EQ(fifo_->bytes(), 10u);
  EXPECT_TRUE(fifo_->contains(0));
  EXPECT_EQ(fifo_->probation_bytes(), 1u) << "a tenth of what there is now";
}

TEST_F(S3FifoChoice, OverTheLimitStaysOnlyWhatIsInUse) {
  open(10);
  demand_all(0, 10);
  opinions_.in_use = {4, 5, 6};
  fifo_->set_bytes_max(2, evicted_);
  EXPECT_EQ(fifo_->bytes(), 3u);
  EXPECT_FALSE(demand(10)) << "no room yet";
  opinions_.in_use.clear();
  EXPECT_TRUE(demand(11));
  EXPECT_EQ(fifo_->bytes(), 2u);
}

TEST_F(S3FifoChoice, AHigherLimitIsFilledAgain) {
  open(10);
  fifo_->set_bytes_max(2, evicted_);
  demand_all(0, 5);
  EXPECT_EQ(fifo_->bytes(), 2u);
  fifo_->set_bytes_max(10, evicted_);
  demand_all(5, 20);
  EXPECT_EQ(fifo_->bytes(), 10u);
}

constexpr S3FifoOptions kMovingShare{
    .probation_ratio = 0.20, .probation_ratio_min = 0.05, .probation_ratio_max = 0.50};

TEST_F(S3FifoChoice, ShareGrowsWhenUnusedOnesLeftTooEarly) {
  open(100, kMovingShare);
  demand_all(1000, 1100);
  for (int id = 0; id < 30; ++id) prefetch(id);
  ASSERT_EQ(fifo_->probation_bytes(), 20u);
  for (int id = 0; id < 10; ++id) demand(id);  // foreseen rightly, but gone
  EXPECT_EQ(fifo_->probation_bytes_max(), 30u);
}

TEST_F(S3FifoChoice, ShareGrowsNoFurtherThanItsBound) {
  open(100, kMovingShare);
  demand_all(1000, 1100);
  for (int round = 0; round < 20; ++round) {
    for (int id = 0; id < 80; ++id) prefetch(id);
    for (int id = 0; id < 80; ++id) demand(id);
    fifo_->set_bytes_max(1, evicted_);
    fifo_->set_bytes_max(100, evicted_);
    demand_all(1000 + round * 100, 1100 + round * 100);
  }
  EXPECT_EQ(fifo_->probation_bytes_max(), 50u);
}

TEST_F(S3FifoChoice, ShareShrinksWhenItTakesRoomThatIsMissed) {
  open(100, kMovingShare);
  demand_all(1000, 1100);
  for (int id = 0; id < 20; ++id) prefetch(id);  // these are never wanted
  demand_all(1000, 1008);                        // these are missed
  EXPECT_NEAR(static_cast<double>(fifo_->probation_bytes_max()), 12, 1);
}

TEST_F(S3FifoChoice, ShareStaysWhenNothingIsPrefetched) {
  open(100, kMovingShare);
  for (int round = 0; round < 5; ++round) demand_all(0, 150);
  EXPECT_EQ(fifo_->probation_bytes_max(), 20u);
}

// Random operations, uses and limits: what is in use stays, and the books agree.
TEST_F(S3FifoChoice, KeepsWhatIsInUseUnderRandomUse) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    opinions_ = {};
    open(60, kMovingShare);
    std::set<int> held;
    for (int step = 0; step < 2000; ++step) {
      const int id = static_cast<int>(rng.below(200));
      const uint64_t what = rng.below(12);
      if (what < 4) fifo_->use(id);
      if (what >= 4 && what < 10) {
        if (put(id, what < 7 ? Admission::kDemand : Admission::kPrefetch)) {
          held.insert(id);
          ASSERT_LE(fifo_->bytes(), fifo_->bytes_max());
        }
      }
      if (what == 10) {
        fifo_->set_bytes_max(rng.between(10, 60), evicted_);
        ASSERT_LE(fifo_->bytes(), std::max<uint64_t>(fifo_->bytes_max(), opinions_.in_use.size()));
      }
      for (const int gone : take_evicted()) {
        ASSERT_FALSE(opinions_.in_use.contains(gone));
        ASSERT_EQ(held.erase(gone), 1u);
      }
      if (held.contains(id) && opinions_.in_use.size() < 30) opinions_.in_use.insert(id);
      if (rng.chance(0.5)) opinions_.in_use.erase(static_cast<int>(rng.below(200)));
      opinions_.worth[id] = rng.unit();
      for (const int used : opinions_.in_use) ASSERT_TRUE(fifo_->contains(used));
      ASSERT_EQ(fifo_->bytes(), held.size());
    }
  }
}

}  // namespace
}  // namespace forerun::tier
