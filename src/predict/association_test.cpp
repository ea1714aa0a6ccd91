#include "predict/association.h"

#include <gmock/gmock.h>

#include "core/rng.h"
#include "predict/testing.h"

namespace forerun::predict {
namespace {

std::vector<Candidate> after(AssociationModel& model, const std::vector<trace::Access>& reads) {
  std::vector<Candidate> out;
  for (const trace::Access& read : reads) {
    out.clear();
    model.on_access(read, out);
  }
  return out;
}

// As many reads elsewhere as make everything before a first touch again.
void forget_recent(AssociationModel& model, Rng& rng) {
  std::vector<Candidate> out;
  for (int i = 0; i < 32; ++i) model.on_access(read_of(1'000'000 + rng.below(1 << 30)), out);
}

constexpr AssociationModel::Options kSmall{.window = 4, .recent_max = 16};

TEST(Association, SaysWhatCameWithARequestTwice) {
  AssociationModel model(kSmall);
  Rng rng(1);
  after(model, {read_of(5), read_of(900), read_of(70, 3)});
  forget_recent(model, rng);
  EXPECT_TRUE(after(model, {read_of(5)}).empty()) << "once is no pair";
  after(model, {read_of(31), read_of(70, 3)});
  forget_recent(model, rng);
  const auto said = after(model, {read_of(5)});
  ASSERT_EQ(said.size(), 1U);
  EXPECT_EQ(said[0].first_block, 70U);
  EXPECT_EQ(said[0].block_count, 3U);
  EXPECT_NEAR(said[0].confidence, 2.0 / 3, 0.01);
}

TEST(Association, WhatWasReadJustBeforeIsNoFirstTouch) {
  AssociationModel model(kSmall);
  std::vector<trace::Access> loop;
  for (int i = 0; i < 50; ++i)
    for (const uint64_t block : {1, 2, 3}) loop.push_back(read_of(block));
  EXPECT_TRUE(after(model, loop).empty());
}

TEST(Association, PairsLieWithinTheWindow) {
  AssociationModel model(kSmall);
  Rng rng(1);
  for (int i = 0; i < 5; ++i) {
    after(model, {read_of(5), read_of(10 * i + 101), read_of(10 * i + 102), read_of(10 * i + 103),
                  read_of(10 * i + 104), read_of(70)});
    forget_recent(model, rng);
  }
  for (const Candidate& one : after(model, {read_of(5)})) EXPECT_NE(one.first_block, 70U);
}

TEST(Association, SaysTheMostFrequentFirstAndNoMoreThanItMay) {
  AssociationModel model({.window = 4, .recent_max = 16, .said_max = 2});
  Rng rng(1);
  for (int i = 0; i < 6; ++i) {
    after(model, {read_of(5), read_of(70)});
    if (i % 2 == 0) after(model, {read_of(80)});
    if (i % 3 == 0) after(model, {read_of(90)});
    forget_recent(model, rng);
  }
  const auto said = after(model, {read_of(5)});
  ASSERT_EQ(said.size(), 2U);
  EXPECT_EQ(said[0].first_block, 70U);
  EXPECT_EQ(said[1].first_block, 80U);
}

TEST(Association, HoldsNoMoreRequestsThanItMayAndKeepsWhatComesAgain) {
  AssociationModel model({.requests_max = 100, .window = 4, .recent_max = 16});
  Rng rng(1);
  for (int i = 0; i < 200; ++i) {
    after(model, {read_of(5), read_of(70)});
    forget_recent(model, rng);
  }
  EXPECT_LT(model.state_bytes(), 128 * 1024U);
  const auto said = after(model, {read_of(5)});
  ASSERT_FALSE(said.empty());
  EXPECT_EQ(said[0].first_block, 70U);
}

TEST(Association, WritesTeachNothing) {
  AssociationModel model(kSmall);
  Rng rng(1);
  for (int i = 0; i < 5; ++i) {
    after(model, {read_of(5), write_of(70)});
    forget_recent(model, rng);
  }
  EXPECT_TRUE(after(model, {read_of(5)}).empty());
}

}  // namespace
}  // namespace forerun::predict
