#include "score/budget.h"

#include <gtest/gtest.h>

#include "core/rng.h"

namespace forerun::score {
namespace {

Budget::Options small() {
  return {.initial_bytes = 1000,
          .max_bytes = 4000,
          .growth = 0.5,
          .usefulness_min = 0.5,
          .probe_bytes = 100,
          .probe_interval = 10s,
          .probe_interval_max = 40s,
          .memory_bytes = 1000};
}

void spend(Budget& budget) {
  while (budget.take(50)) budget.on_wasted(50);
}

TEST(Budget, GivesTheInitialAllowanceAndNoMore) {
  Budget budget(small());
  EXPECT_TRUE(budget.take(600));
  EXPECT_FALSE(budget.take(401));
  EXPECT_TRUE(budget.take(400));
  EXPECT_EQ(budget.available_bytes(), 0u);
  EXPECT_EQ(budget.undecided_bytes(), 1000u);
}

TEST(Budget, GrowsWithUseUpToItsBound) {
  Budget budget(small());
  ASSERT_TRUE(budget.take(1000));
  budget.on_used(1000);
  EXPECT_EQ(budget.available_bytes(), 1500u);
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(budget.take(1000));
    budget.on_used(1000);
  }
  EXPECT_EQ(budget.available_bytes(), 4000u);
}

TEST(Budget, FallsToNothingWhenAllIsWasted) {
  Budget budget(small());
  uint64_t wasted = 0;
  while (budget.take(100)) {
    budget.on_wasted(100);
    wasted += 100;
  }
  EXPECT_LT(budget.available_bytes(), 100u);
  EXPECT_LE(wasted, 2000u);  // allowance / (growth at break-even one half)
  EXPECT_EQ(budget.usefulness(), 0.0);
}

TEST(Budget, StaysWhereUsefulnessIsAtTheMinimum) {
  Budget budget(small());
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(budget.take(20));
    budget.on_used(10);
    budget.on_wasted(10);
  }
  EXPECT_EQ(budget.available_bytes(), 1000u);
  EXPECT_NEAR(budget.usefulness(), 0.5, 0.02);
}

TEST(Budget, CancelledBytesComeBackWithoutJudgement) {
  Budget budget(small());
  ASSERT_TRUE(budget.take(1000));
  budget.on_cancelled(1000);
  EXPECT_EQ(budget.available_bytes(), 1000u);
  EXPECT_EQ(budget.usefulness(), 1.0);
}

TEST(Budget, ProbesEverMoreRarelyWhileProbesAreWasted) {
  Budget budget(small());
  spend(budget);
  std::vector<int> probes;
  for (int second = 0; second < 200; ++second) {
    budget.tick(kTimeZero + std::chrono::seconds(second));
    if (budget.take(100)) {
      probes.push_back(second);
      budget.on_wasted(100);
      spend(budget);
    }
  }
  ASSERT_GE(probes.size(), 4u);
  EXPECT_GE(probes[1] - probes[0], 20);
  EXPECT_GE(probes[3] - probes[2], 40);
  EXPECT_LE(probes.size(), 6u);
}

TEST(Budget, EarnsItsWayBackFromAProbe) {
  Budget budget(small());
  spend(budget);
  ASSERT_FALSE(budget.take(100));
  budget.tick(kTimeZero);
  budget.tick(kTimeZero + 11s);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(budget.take(100)) << i;
    budget.on_used(100);
  }
  EXPECT_EQ(budget.available_bytes(), 4000u);
}

// Whatever happens in whatever order: bounded, never more undecided than was taken, same inputs
// give the same state.
TEST(Budget, HoldsItsInvariantsOnRandomHistories) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Rng rng(seed);
    Budget budget(small());
    Budget twin(small());
    uint64_t taken = 0;
    for (int step = 0; step < 500; ++step) {
      const uint64_t bytes = rng.below(300);
      const Time now = kTimeZero + std::chrono::seconds(step);
      const uint64_t before = budget.available_bytes();
      switch (rng.below(5)) {
        case 0: {
          const bool ok = budget.take(bytes);
          EXPECT_EQ(ok, bytes <= before);
          EXPECT_EQ(ok, twin.take(bytes));
          taken += ok ? bytes : 0;
          break;
        }
        case 1:
          budget.on_used(bytes);
          twin.on_used(bytes);
          EXPECT_GE(budget.available_bytes(), before);
          break;
        case 2:
          budget.on_wasted(bytes);
          twin.on_wasted(bytes);
          break;
        case 3:
          budget.on_cancelled(bytes);
          twin.on_cancelled(bytes);
          break;
        default:
          budget.tick(now);
          twin.tick(now);
      }
      ASSERT_LE(budget.available_bytes(), 4000u);
      ASSERT_LE(budget.undecided_bytes(), taken);
      ASSERT_EQ(budget.available_bytes(), twin.available_bytes());
      ASSERT_GE(budget.usefulness(), 0.0);
      ASSERT_LE(budget.usefulness(), 1.0);
    }
  }
}

}  // namespace
}  // namespace forerun::score
