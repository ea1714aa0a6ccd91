#include "sim/sim_link.h"

#include <gtest/gtest.h>

#include <vector>

namespace forerun::sim {
namespace {

class SimLinkTest : public testing::Test {
 protected:
  SimLinkTest() { EXPECT_TRUE(objects.put("a", Buffer(100'000 - 200, std::byte{7})).has_value()); }

  SimLink make(LinkOptions options) { return SimLink(3, loop, objects, options); }
  void fetch(SimLink& link, const std::string& path) {
    link.fetch(path, 1 << 20, [this](Result<Buffer> answer) {
      answers.push_back(std::move(answer));
      at.push_back(loop.now() - kTimeZero);
    });
  }
  void run(Nanos span = 60s) {
    const Time until = loop.now() + span;
    while (loop.run_one(until)) {
    }
  }

  EventLoop loop{1};
  repository::MemoryStore objects;
  std::vector<Result<Buffer>> answers;
  std::vector<Nanos> at;
};

TEST_F(SimLinkTest, SharesItsRateAmongRequests) {
  SimLink link = make({.rate_bytes_per_s = 1e6, .round_trip = 10ms, .jitter = 0ns});
  fetch(link, "a");
  fetch(link, "a");
  run();
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0]->size(), 100'000u - 200);
  EXPECT_EQ(at[0], 110ms);
  EXPECT_EQ(at[1], 210ms);
}

TEST_F(SimLinkTest, TellsWhatIsMissing) {
  SimLink link = make({});
  fetch(link, "b");
  run();
  EXPECT_EQ(answers.at(0).error().code, ErrorCode::kNotFound);
}

TEST_F(SimLinkTest, TimesOutWhileParted) {
  SimLink link = make({.rate_bytes_per_s = 1e6, .timeout = 2s});
  fetch(link, "a");
  run(20ms);
  link.part();
  fetch(link, "a");
  run();
  ASSERT_EQ(answers.size(), 2u);
  EXPECT_EQ(answers[0].error().code, ErrorCode::kTimedOut);
  EXPECT_EQ(answers[1].error().code, ErrorCode::kTimedOut);
  EXPECT_EQ(at[0], 2s);
  link.heal();
  fetch(link, "a");
  run();
  EXPECT_TRUE(answers.at(2).has_value());
}

TEST_F(SimLinkTest, BreaksSilencesAndCorruptsAsAsked) {
  SimLink link = make({.broken = 0.2, .silent = 0.2, .flipped = 0.2, .truncated = 0.2});
  for (int i = 0; i < 200; ++i) {
    fetch(link, "a");
    run();
  }
  EXPECT_GT(link.stats().errors, 40u);
  EXPECT_GT(link.stats().corrupted, 20u);
  EXPECT_EQ(link.stats().answers + link.stats().errors, 200u);
  EXPECT_EQ(link.stats().outstanding, 0u);
}

TEST_F(SimLinkTest, SwapsObjects) {
  ASSERT_TRUE(objects.put("b", Buffer(10, std::byte{1})).has_value());
  SimLink link = make({.swapped = 1.0});
  for (int i = 0; i < 20; ++i) fetch(link, "a");
  run();
  EXPECT_GT(link.stats().corrupted, 3u);
}

TEST_F(SimLinkTest, ForgetsWhatIsUnderWay) {
  SimLink link = make({});
  fetch(link, "a");
  link.forget();
  run();
  EXPECT_TRUE(answers.empty());
  EXPECT_EQ(link.stats().outstanding, 0u);
}

}  // namespace
}  // namespace forerun::sim
