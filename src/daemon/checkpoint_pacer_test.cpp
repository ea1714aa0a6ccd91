#include "daemon/checkpoint_pacer.h"

#include <gtest/gtest.h>

#include "core/bytes.h"

namespace forerun::daemon {
namespace {

constexpr uint64_t kMuch = 64 * kMiB;
const Time kBegin = kTimeZero + 1000s;

TEST(CheckpointPacer, AGuestThatHasJustStartedIsLeftAlone) {
  const CheckpointPacer pacer({}, kBegin);
  EXPECT_FALSE(pacer.decide(kMuch, kBegin + 19s).is_due);
  EXPECT_TRUE(pacer.decide(kMuch, kBegin + 20s).is_due);
}

TEST(CheckpointPacer, WhatOneCostsIsPaidByItsBudget) {
  CheckpointPacer pacer({.budget_ratio = 0.02}, kBegin);
  pacer.on_made(3s, kMuch, kBegin);
  EXPECT_EQ(pacer.interval(), 150s);
  EXPECT_FALSE(pacer.decide(kMuch, kBegin + 149s).is_due);
  EXPECT_TRUE(pacer.decide(kMuch, kBegin + 150s).is_due);

  pacer.set_budget(0.1);
  EXPECT_TRUE(pacer.decide(kMuch, kBegin + 30s).is_due);
}

TEST(CheckpointPacer, CheapOnesAreNotMadeAllTheTimeAndDearOnesNotNever) {
  CheckpointPacer pacer({}, kBegin);
  pacer.on_made(1ms, kMuch, kBegin);
  EXPECT_EQ(pacer.interval(), 10s);
  for (int i = 0; i < 20; ++i) pacer.on_made(1000s, kMuch, kBegin);
  EXPECT_EQ(pacer.interval(), 3600s);
}

TEST(CheckpointPacer, AGuestAtRestIsSeldomDisturbed) {
  CheckpointPacer pacer({}, kBegin);
  pacer.on_made(1s, 100 * kKiB, kBegin);
  const auto decision = pacer.decide(0, kBegin + 60s);
  EXPECT_FALSE(decision.is_due);
  EXPECT_EQ(decision.next_in, 340s);
  EXPECT_NE(decision.why.find("at rest"), std::string::npos) << decision.why;
  // … until it writes.
  EXPECT_TRUE(pacer.decide(kMuch, kBegin + 60s).is_due);
}

TEST(CheckpointPacer, AFailureIsTriedAgainLessAndLessOften) {
  CheckpointPacer pacer({}, kBegin);
  pacer.on_failed("no space", kBegin);
  const auto first = pacer.decide(kMuch, kBegin);
  EXPECT_EQ(first.next_in, 20s);
  EXPECT_NE(first.why.find("no space"), std::string::npos);
  pacer.on_failed("no space", kBegin);
  EXPECT_EQ(pacer.decide(kMuch, kBegin).next_in, 40s);
  for (int i = 0; i < 40; ++i) pacer.on_failed("no space", kBegin);
  EXPECT_EQ(pacer.decide(kMuch, kBegin).next_in, 3600s);
  pacer.on_made(1s, kMuch, kBegin);
  EXPECT_EQ(pacer.decide(kMuch, kBegin).next_in, 50s);
}

TEST(CheckpointPacer, AMoveThatIsForeseenHasOneMadeAheadAndTheNextPaysForIt) {
  CheckpointPacer pacer({.budget_ratio = 0.02}, kBegin);
  pacer.on_made(2s, kMuch, kBegin);  // every 100 s
  pacer.foresee(kBegin + 30s);
  const auto ahead = pacer.decide(kMuch, kBegin + 30s);
  EXPECT_TRUE(ahead.is_due);
  EXPECT_NE(ahead.why.find("a move to another host is foreseen"), std::string::npos);
  pacer.on_made(2s, kMuch, kBegin + 30s);
  EXPECT_FALSE(pacer.decide(kMuch, kBegin + 199s).is_due);
  EXPECT_TRUE(pacer.decide(kMuch, kBegin + 200s).is_due);
  pacer.on_made(2s, kMuch, kBegin + 200s);
  EXPECT_TRUE(pacer.decide(kMuch, kBegin + 210s).is_due);
}

TEST(CheckpointPacer, AMoveThatDoesNotComeIsForgotten) {
  CheckpointPacer pacer({.foreseen_for = 60s}, kBegin);
  pacer.on_made(2s, kMuch, kBegin);
  pacer.foresee(kBegin);
  EXPECT_TRUE(pacer.foresees(kBegin + 59s));
  EXPECT_FALSE(pacer.foresees(kBegin + 60s));
  EXPECT_FALSE(pacer.decide(kMuch, kBegin + 61s).is_due);
}

TEST(CheckpointPacer, AGuestAtRestThatIsToMoveIsNotLeftAtRest) {
  CheckpointPacer pacer({}, kBegin);
  pacer.on_made(1s, 0, kBegin);  // every 50 s, at rest every 400 s
  EXPECT_FALSE(pacer.decide(0, kBegin + 60s).is_due);
  pacer.foresee(kBegin + 60s);
  EXPECT_TRUE(pacer.decide(0, kBegin + 60s).is_due);
}

}  // namespace
}  // namespace forerun::daemon
