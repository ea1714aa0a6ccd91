#include "predict/leap.h"

#include <gmock/gmock.h>

#include "predict/testing.h"

namespace forerun::predict {
namespace {

std::vector<Candidate> after(LeapModel& model, const std::vector<uint64_t>& blocks) {
  std::vector<Candidate> said;
  for (const uint64_t block : blocks) said = said_of(model, read_of(block, 2));
  return said;
}

TEST(Leap, FollowsTheDeltaOfTheMajority) {
  LeapModel model;
  EXPECT_TRUE(after(model, {0, 9, 18, 27}).empty()) << "three deltas are no window";
  const auto said = after(model, {36});
  ASSERT_FALSE(said.empty());
  EXPECT_EQ(said[0].first_block, 45U);
  EXPECT_EQ(said[0].block_count, 2U);
}

TEST(Leap, FindsATrendAmidNoise) {
  LeapModel model;
  // Every third request is elsewhere: two deltas of three are broken, so no window has a majority;
  // of every eighth, a window of 8 or more has one.
  EXPECT_TRUE(after(model, {0, 9, 5000, 18, 27, 7000, 36, 45, 9000, 54, 63, 100}).empty());
  LeapModel calm;
  std::vector<uint64_t> walk;
  for (uint64_t i = 0; i < 31; ++i) walk.push_back(i % 8 == 7 ? 100'000 + 31 * i : 9 * i);
  const auto said = after(calm, walk);
  ASSERT_FALSE(said.empty());
  EXPECT_EQ(said[0].first_block, 9 * 31U);
}

TEST(Leap, SaysMoreAheadWhileItIsRightAndLessWhenWrong) {
  LeapModel model;
  std::vector<uint64_t> walk;
  for (uint64_t i = 0; i < 20; ++i) walk.push_back(1000 + 5 * i);
  EXPECT_EQ(after(model, walk).size(), 8U);
  EXPECT_EQ(after(model, {77'777}).size(), 4U);
}

TEST(Leap, GoesBackwardsButNotBelowZero) {
  LeapModel model;
  const auto said = after(model, {60, 50, 40, 30, 20});
  for (const Candidate& one : said) EXPECT_LT(one.first_block, 20U);
  EXPECT_TRUE(after(model, {10, 0}).empty());
}

TEST(Leap, RepeatsAndWritesAreNoTrend) {
  LeapModel model;
  EXPECT_TRUE(after(model, {7, 7, 7, 7, 7, 7}).empty());
  LeapModel other;
  std::vector<Candidate> said;
  for (uint64_t i = 0; i < 10; ++i) said = said_of(other, write_of(9 * i));
  EXPECT_TRUE(said.empty());
}

}  // namespace
}  // namespace forerun::predict
