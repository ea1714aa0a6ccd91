#include "tier/pool_policy.h"

#include <gtest/gtest.h>

#include "core/bytes.h"

namespace forerun::tier {
namespace {

// A host of 10 000 MiB: the marks are at 500 and 1000 MiB. The tier has 100 to 800 MiB.
class PoolPolicyTest : public testing::Test {
 protected:
  // Returns the target in MiB after one more second.
  uint64_t after(uint64_t available_mib, double stall_ratio = 0) {
    now_ += 1s;
    const HostMemory host{10'000 * kMiB, available_mib * kMiB, stall_ratio};
    const uint64_t target = policy_.update(host, used_mib_ * kMiB, now_);
    used_mib_ = std::min(used_mib_, target / kMiB);
    return target / kMiB;
  }
  uint64_t after_seconds(int count, uint64_t available_mib, double stall_ratio = 0) {
    uint64_t target = 0;
    for (int i = 0; i < count; ++i) target = after(available_mib, stall_ratio);
    return target;
  }

  PoolPolicy policy_{{.bytes_min = 100 * kMiB, .bytes_max = 800 * kMiB}};
  uint64_t used_mib_ = 800;
  Time now_ = kTimeZero;
};

TEST_F(PoolPolicyTest, UsesAllItWasGivenWhileThereIsMemory) {
  EXPECT_EQ(policy_.target_bytes(), 800 * kMiB);
  EXPECT_EQ(after_seconds(30, 5000), 800u);
}

TEST_F(PoolPolicyTest, GivesBackWhatIsMissingToTheHighMark) { EXPECT_EQ(after(400), 800u - 600u); }

TEST_F(PoolPolicyTest, KeepsItsMinimum) { EXPECT_EQ(after(0), 100u); }

TEST_F(PoolPolicyTest, GivesBackOfWhatItUsesNotOfWhatItMight) {
  used_mib_ = 700;
  EXPECT_EQ(after(499), 700u - 501u);
}

TEST_F(PoolPolicyTest, BetweenTheMarksNothingChanges) {
  EXPECT_EQ(after_seconds(60, 700), 800u);
  after(400);
  EXPECT_EQ(after_seconds(60, 999), 200u);
}

TEST_F(PoolPolicyTest, StallsBetweenTheMarksTakeAStepAndThenWait) {
  EXPECT_EQ(after(700, 0.2), 700u);
  EXPECT_EQ(after_seconds(4, 700, 0.2), 700u) << "the average still tells of the past";
  EXPECT_EQ(after(700, 0.2), 600u);
}

TEST_F(PoolPolicyTest, StallsWithMemoryToSpareAreNotItsFault) {
  EXPECT_EQ(after_seconds(60, 5000, 0.9), 800u);
}

TEST_F(PoolPolicyTest, TakesMemoryAgainStepByStepAfterACalm) {
  after(400);
  EXPECT_EQ(after_seconds(9, 4000), 200u);
  EXPECT_EQ(after(4000), 300u);
  EXPECT_EQ(after(4000), 400u);
  EXPECT_EQ(after_seconds(20, 4000), 800u);
}

TEST_F(PoolPolicyTest, StallsHoldGrowthBack) {
  after(400);
  EXPECT_EQ(after_seconds(60, 4000, 0.05), 200u);
}

TEST_F(PoolPolicyTest, GrowsNoFurtherThanLeavesTheHighMark) {
  after(400);
  EXPECT_EQ(after_seconds(20, 1050), 250u) << "50 MiB are to spare, and it uses 200";
}

TEST_F(PoolPolicyTest, DoesNotFlapWhenItsOwnShrinkingIsTheCure) {
  uint64_t others_mib = 8'800;  // what the rest of the host uses
  uint64_t changes = 0, last = 800;
  for (int second = 0; second < 300; ++second) {
    const uint64_t target = after(10'000 - std::min<uint64_t>(10'000, others_mib + used_mib_));
    used_mib_ = target;  // the tier fills what it may use at once
    changes += target != last ? 1 : 0;
    last = target;
  }
  EXPECT_EQ(last, 200u) << "leaves 1000 MiB available, which is the mark";
  EXPECT_EQ(changes, 1u);
}

TEST_F(PoolPolicyTest, MinimumAboveTheMaximumIsTheMaximum) {
  PoolPolicy small({.bytes_min = 64 * kMiB, .bytes_max = 16 * kMiB});
  EXPECT_EQ(small.update({kGiB, 0, 1}, 16 * kMiB, kTimeZero), 16 * kMiB);
}

}  // namespace
}  // namespace forerun::tier
