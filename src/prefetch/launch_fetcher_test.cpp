#include "prefetch/launch_fetcher.h"

#include <gmock/gmock.h>

namespace forerun::prefetch {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

repository::ChunkRef chunk(uint64_t number, uint32_t stored = 20000) {
  repository::ChunkRef ref;
  std::memcpy(ref.id.bytes.data(), &number, sizeof number);
  ref.size = 65536;
  ref.stored_size = stored;
  return ref;
}

uint64_t number_of(const repository::ChunkRef& ref) {
  uint64_t number = 0;
  std::memcpy(&number, ref.id.bytes.data(), sizeof number);
  return number;
}

LaunchWish wish(const std::string& image, float probability, std::vector<uint64_t> numbers,
                float support = 1) {
  LaunchWish wish{image, probability, kTimeZero, {}};
  for (const uint64_t number : numbers)
    wish.chunks.push_back({ComponentId{1}, number, chunk(number), support});
  return wish;
}

class LaunchFetcherTest : public testing::Test {
 protected:
  LaunchFetcherTest() { restart({}); }
  void restart(LaunchFetcher::Options options) {
    fetcher_ = std::make_unique<LaunchFetcher>(
        options, [this](const ChunkId& id) { return here_.contains(id); });
  }
  std::vector<uint64_t> pull() {
    std::vector<PrefetchCommand> commands;
    fetcher_->pull(now_, commands);
    std::vector<uint64_t> numbers;
    for (const auto& command : commands) numbers.push_back(number_of(command.chunk));
    return numbers;
  }
  void arrive(uint64_t number) {
    here_.insert(chunk(number).id);
    fetcher_->on_fetched(chunk(number).id, true, now_);
  }
  // What came of it, per image: (kind, bytes) summed.
  uint64_t came(LaunchFetcher::Came kind, const std::string& image) {
    for (auto& event : fetcher_->take_events()) events_.push_back(std::move(event));
    uint64_t bytes = 0;
    for (const auto& event : events_)
      if (event.came == kind && event.image == image) bytes += event.bytes;
    return bytes;
  }

  using Came = LaunchFetcher::Came;
  Time now_ = kTimeZero + 1s;
  std::set<ChunkId> here_;
  std::vector<LaunchFetcher::Event> events_;
  std::unique_ptr<LaunchFetcher> fetcher_;
};

TEST_F(LaunchFetcherTest, TheLikelierImageComesFirst) {
  fetcher_->wish({wish("db", 0.4F, {1, 2}), wish("web", 0.9F, {3, 4})}, {1e6, 20ms}, now_);
  const auto first = pull();
  ASSERT_EQ(first.size(), 4U);
  EXPECT_THAT(std::vector(first.begin(), first.begin() + 2), UnorderedElementsAre(3, 4));
}

TEST_F(LaunchFetcherTest, WhatSeveralImagesShareIsFetchedOnceAndFirst) {
  fetcher_->wish({wish("db", 0.4F, {1, 7}), wish("web", 0.4F, {7, 2})}, {1e6, 20ms}, now_);
  const auto order = pull();
  ASSERT_EQ(order.size(), 3U);
  EXPECT_EQ(order[0], 7U);
}

TEST_F(LaunchFetcherTest, SmallChunksSaveMoreWaitingPerByte) {
  LaunchWish one = wish("web", 0.9F, {1});
  one.chunks.push_back({ComponentId{1}, 2, chunk(2, 1000), 1});
  fetcher_->wish({one}, {1e6, 20ms}, now_);
  EXPECT_THAT(pull(), ElementsAre(2, 1));
}

TEST_F(LaunchFetcherTest, LeavesOutWhatIsHereUnlikelyOrZero) {
  here_.insert(chunk(1).id);
  LaunchWish one = wish("web", 0.9F, {1});
  one.chunks.push_back({ComponentId{1}, 2, chunk(2), 0.3F});
  one.chunks.push_back({ComponentId{1}, 3, repository::ChunkRef{}, 1});
  fetcher_->wish({one}, {}, now_);
  EXPECT_THAT(pull(), IsEmpty());
  EXPECT_TRUE(fetcher_->readiness("web").is_ready);
}

TEST_F(LaunchFetcherTest, HandsOverNoMoreThanItsLimitAtOnce) {
  restart({.handed_over_max = 2});
  fetcher_->wish({wish("web", 0.9F, {1, 2, 3})}, {}, now_);
  EXPECT_EQ(pull().size(), 2U);
  EXPECT_THAT(pull(), IsEmpty());
  arrive(1);
  arrive(2);
  EXPECT_EQ(pull().size(), 1U);
}

TEST_F(LaunchFetcherTest, StaysWithinItsBudgetAndGoesOnWhenItIsEarned) {
  restart({.budget = {.initial_bytes = 40000, .max_bytes = 100000}});
  fetcher_->wish({wish("web", 0.9F, {1, 2, 3, 4})}, {}, now_);
  EXPECT_THAT(pull(), ElementsAre(1, 2));
  EXPECT_THAT(pull(), IsEmpty());
  for (const uint64_t number : {1, 2}) {
    arrive(number);
    fetcher_->on_read(chunk(number).id, false, now_);
  }
  EXPECT_THAT(pull(), ElementsAre(3, 4));
  EXPECT_EQ(came(Came::kUsed, "web"), 40000U);
}

TEST_F(LaunchFetcherTest, IsSilentWhenItsBudgetIsWastedAndTriesAgainLater) {
  restart({.budget = {.initial_bytes = 40000,
                      .max_bytes = 40000,
                      .probe_bytes = 20000,
                      .probe_interval = 60s}});
  fetcher_->wish({wish("web", 0.9F, {1, 2, 3, 4})}, {}, now_);
  for (const std::vector<uint64_t>& expected : {std::vector<uint64_t>{1, 2}, {3}}) {
    EXPECT_EQ(pull(), expected);
    for (const uint64_t number : expected) arrive(number);
    now_ += 10min;
    fetcher_->tick(now_);
  }
  EXPECT_EQ(came(Came::kWasted, "web"), 60000U);
  EXPECT_THAT(pull(), IsEmpty());
  fetcher_->tick(now_);
  now_ += 61s;
  fetcher_->tick(now_);
  EXPECT_THAT(pull(), ElementsAre(4));
}

TEST_F(LaunchFetcherTest, ALaunchGivesItsChunksTheTimeOfABoot) {
  fetcher_->wish({wish("web", 0.9F, {1}), wish("db", 0.4F, {2})}, {}, now_);
  pull();
  arrive(1);
  arrive(2);
  now_ += 9min;
  fetcher_->on_launch("web", now_);
  now_ += 61s;
  fetcher_->tick(now_);
  EXPECT_EQ(came(Came::kWasted, "web"), 0U);
  EXPECT_EQ(came(Came::kWasted, "db"), 20000U);
  now_ += 60s;
  fetcher_->tick(now_);
  EXPECT_EQ(came(Came::kWasted, "web"), 20000U);
  EXPECT_EQ(fetcher_->undecided_chunks(), 0U);
}

TEST_F(LaunchFetcherTest, AReadThatCatchesUpIsLateAndCountsAsUse) {
  fetcher_->wish({wish("web", 0.9F, {1})}, {}, now_);
  pull();
  fetcher_->on_read(chunk(1).id, true, now_);
  fetcher_->on_fetched(chunk(1).id, true, now_);
  const score::ModelTally tally = fetcher_->tally();
  EXPECT_EQ(tally.late.chunks, 1U);
  EXPECT_EQ(tally.issued.chunks, 1U);
  EXPECT_EQ(came(Came::kFetched, "web"), 20000U);
}

TEST_F(LaunchFetcherTest, WhatTheTierLetGoIsWastedAndWhatFailedIsNot) {
  fetcher_->wish({wish("web", 0.9F, {1, 2})}, {}, now_);
  pull();
  arrive(1);
  here_.erase(chunk(1).id);
  fetcher_->on_evicted_unused(chunk(1).id, now_);
  fetcher_->on_fetched(chunk(2).id, false, now_);
  EXPECT_EQ(fetcher_->tally().wasted.chunks, 1U);
  EXPECT_EQ(fetcher_->tally().cancelled.chunks, 1U);
  EXPECT_EQ(fetcher_->budget().undecided_bytes(), 0U);
}

TEST_F(LaunchFetcherTest, AnImageIsReadyOnceNearlyAllOfItIsHere) {
  std::vector<uint64_t> numbers(20);
  for (uint64_t i = 0; i < 20; ++i) numbers[i] = i + 1;
  fetcher_->wish({wish("web", 0.9F, numbers)}, {}, now_);
  EXPECT_FALSE(fetcher_->readiness("web").is_ready);
  for (uint64_t i = 0; i < 18; ++i) here_.insert(chunk(numbers[i]).id);
  EXPECT_TRUE(fetcher_->readiness("web").is_ready);
  EXPECT_EQ(fetcher_->readiness("web").here_bytes, 18U * 20000);
  EXPECT_FALSE(fetcher_->readiness("other").is_ready);
}

TEST_F(LaunchFetcherTest, ANewWishReplacesWhatWaits) {
  restart({.handed_over_max = 1});
  fetcher_->wish({wish("web", 0.9F, {1, 2, 3})}, {}, now_);
  const auto first = pull();
  fetcher_->wish({}, {}, now_);
  arrive(first[0]);
  EXPECT_THAT(pull(), IsEmpty());
  fetcher_->on_read(chunk(first[0]).id, false, now_);
  EXPECT_EQ(came(Came::kUsed, "web"), 20000U);
}

}  // namespace
}  // namespace forerun::prefetch
