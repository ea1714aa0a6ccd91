#include "daemon/pull_history.h"

#include <gtest/gtest.h>

#include "core/rng.h"

namespace forerun::daemon {
namespace {

using disk::LoggedRequest;

bool all_remote(const LoggedRequest&) { return true; }

LoggedRequest at(uint64_t block) { return {block, 1, false}; }

std::vector<LoggedRequest> rounds(uint64_t places, int count) {
  std::vector<LoggedRequest> requests;
  for (int i = 0; i < count; ++i)
    for (uint64_t place = 0; place < places; ++place) requests.push_back(at(place * 7));
  return requests;
}

TEST(PullHistory, WhatWasUsedLastComesFirst) {
  PullHistory history({at(900), at(2000), at(77)}, 4096, all_remote);
  std::vector<uint64_t> wished;
  while (const auto next = history.next()) {
    wished.push_back(next->first_block);
    history.pop();
  }
  EXPECT_EQ(wished, (std::vector<uint64_t>{77, 2000, 900}));
}

TEST(PullHistory, AGuestThatReadsOnUsesNothingAgain) {
  std::vector<LoggedRequest> before;
  for (uint64_t i = 0; i < 400; ++i) before.push_back(at(i));
  const PullHistory history(before, 100'000, all_remote);
  EXPECT_FALSE(history.is_useful());
}

TEST(PullHistory, WhatIsHitByChanceIsNoUse) {
  Rng rng(1);
  std::vector<LoggedRequest> before;
  for (int i = 0; i < 4000; ++i) before.push_back(at(rng.below(4000)));
  const PullHistory history(before, 4000, all_remote);
  EXPECT_GT(history.reuse(), 0.3);
  EXPECT_FALSE(history.is_useful());
}

TEST(PullHistory, WhatIsOfTheImageTellsNothing) {
  std::vector<LoggedRequest> before = rounds(50, 4);
  for (uint64_t i = 0; i < 200; ++i) before.push_back(at(100'000 + i));
  const PullHistory history(
      before, 50, [](const LoggedRequest& request) { return request.first_block >= 100'000; });
  EXPECT_FALSE(history.is_useful());
}

TEST(PullHistory, AGuestThatDoesTheSameAgainIsGoneAheadOf) {
  PullHistory history(rounds(200, 3), 100'000, all_remote);
  for (uint64_t place = 50; place < 100; ++place) history.see(at(place * 7), true);
  ASSERT_TRUE(history.is_following());
  ASSERT_TRUE(history.next());
  EXPECT_EQ(history.next()->first_block, 100u * 7);
  history.pop();
  EXPECT_EQ(history.next()->first_block, 101u * 7);
}

TEST(PullHistory, AGuestThatNoLongerDoesIsNot) {
  PullHistory history(rounds(200, 3), 100'000, all_remote);
  for (uint64_t place = 50; place < 100; ++place) history.see(at(place * 7), true);
  for (uint64_t i = 0; i < 1000; ++i) history.see(at(50'000 + i), true);
  EXPECT_FALSE(history.is_following());
  EXPECT_FALSE(history.is_useful());
  EXPECT_FALSE(history.next());
}

}  // namespace
}  // namespace forerun::daemon
