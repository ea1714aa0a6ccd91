#include "forecast/launch_plan.h"

#include <gmock/gmock.h>

#include "core/bytes.h"

namespace forerun::forecast {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr LaunchShape kShape{.hosts = 1, .manifests = 3, .tick_s = 300, .window_ticks = 2};
const std::vector<uint64_t> kSizes = {100, 200, 400};

TEST(LaunchPlan, BuysTheBestPerByteFirst) {
  LaunchPlan plan(kShape, {.bytes_per_tick = 300, .saved_ticks = 0});
  const std::vector<double> worth = {1, 3, 4};
  const auto chosen = plan.plan(0, worth, kSizes, nullptr, true);
  ASSERT_THAT(chosen, SizeIs(2));
  EXPECT_EQ(chosen[0].manifest, 1U);  // 3/200, then 1/100 and 4/400 tie: one fits
  EXPECT_EQ(chosen[1].manifest, 0U);
  EXPECT_EQ(plan.spent_bytes(), 300U);
}

TEST(LaunchPlan, BuysTheLikeliestFirstIfSizesDoNotCount) {
  LaunchPlan plan(kShape, {.bytes_per_tick = 400, .saved_ticks = 0});
  const std::vector<double> worth = {1, 3, 4};
  const auto chosen = plan.plan(0, worth, kSizes, nullptr, false);
  ASSERT_THAT(chosen, SizeIs(1));
  EXPECT_EQ(chosen[0].manifest, 2U);
}

TEST(LaunchPlan, DoesNotFetchAgainWhatIsStillReady) {
  LaunchPlan plan(kShape, {.bytes_per_tick = 1000, .saved_ticks = 0});
  const std::vector<double> worth = {1, 0, 0};
  EXPECT_THAT(plan.plan(5, worth, kSizes, nullptr, true), SizeIs(1));
  EXPECT_THAT(plan.plan(6, worth, kSizes, nullptr, true), IsEmpty());
  EXPECT_THAT(plan.plan(7, worth, kSizes, nullptr, true), SizeIs(1));
}

TEST(LaunchPlan, IsReadyForExactlyOneWindow) {
  LaunchPlan plan(kShape, {.bytes_per_tick = 1000, .saved_ticks = 0});
  EXPECT_FALSE(plan.ready(0, 0, 0));
  plan.plan(5, std::vector<double>{1, 0, 0}, kSizes, nullptr, true);
  EXPECT_FALSE(plan.ready(0, 0, 4));
  EXPECT_TRUE(plan.ready(0, 0, 5));
  EXPECT_TRUE(plan.ready(0, 0, 6));
  EXPECT_FALSE(plan.ready(0, 0, 7));
  EXPECT_FALSE(plan.ready(0, 1, 5));
}

TEST(LaunchPlan, NeverSpendsMoreThanWasGranted) {
  for (const uint32_t saved_ticks : {0U, 10U}) {
    LaunchPlan plan(kShape, {.bytes_per_tick = 33, .saved_ticks = saved_ticks});
    for (int64_t tick = 0; tick < 200; ++tick) {
      plan.plan(tick, std::vector<double>{1, 1, 1}, kSizes, nullptr, true);
      EXPECT_LE(static_cast<double>(plan.spent_bytes()), 33.0 * static_cast<double>(tick + 1));
    }
    EXPECT_GT(plan.spent_bytes(), 33U * 200U - 400U);
  }
}

TEST(LaunchPlan, SavesNoMoreThanItsLimit) {
  LaunchPlan plan(kShape, {.bytes_per_tick = 100, .saved_ticks = 10});
  for (int64_t tick = 0; tick < 50; ++tick)
    plan.plan(tick, std::vector<double>{0, 0, 0}, kSizes, nullptr, true);
  EXPECT_EQ(plan.saved_bytes(), 1000);
}

TEST(LaunchPlan, BuysNothingThatIsWorthNothing) {
  LaunchPlan plan(kShape, {.bytes_per_tick = 1000, .saved_ticks = 0});
  EXPECT_THAT(plan.plan(0, std::vector<double>{0, 0, 0}, kSizes, nullptr, true), IsEmpty());
}

const std::vector<uint64_t> kImages(3, 256 * kMiB);

TEST(LaunchPrices, ReadTheSpendingOfThePast) {
  LaunchPrices prices(kShape, kImages, {});
  for (int64_t tick = 0; tick < 400; ++tick) prices.see(tick, std::vector<double>{4, 1, 0.25});
  const auto image = static_cast<double>(256 * kMiB);
  // One image each second tick is half an image per tick: only the best is worth that price.
  const double price = prices.price(0.5 * image) * image;
  EXPECT_LE(price, 4);
  EXPECT_GE(price, 1);
  EXPECT_LT(prices.price(1.4 * image) * image, 0.3);
  EXPECT_EQ(prices.price(2 * image), 0);  // more than all that was ever offered
}

TEST(LaunchPrices, MakeAPlanWaitForTheBusyHours) {
  LaunchPrices prices(kShape, kImages, {});
  const auto worth_at = [](int64_t tick) {
    return std::vector<double>{tick % 20 < 2 ? 8.0 : 0.5, 0, 0};
  };
  LaunchPlan waiting(kShape, {.bytes_per_tick = 256.0 * kMiB / 20, .saved_ticks = 100});
  LaunchPlan hasty(kShape, {.bytes_per_tick = 256.0 * kMiB / 20, .saved_ticks = 0});
  int waited_well = 0, hasty_well = 0;
  for (int64_t tick = 0; tick < 1000; ++tick) {
    if (tick >= 200) {
      const bool busy = tick % 20 < 2;
      const auto size = waiting.plan(tick, worth_at(tick), kImages, &prices, true).size();
      if (busy) waited_well += static_cast<int>(size);
      if (busy && !hasty.plan(tick, worth_at(tick), kImages, nullptr, true).empty()) ++hasty_well;
      if (!busy) hasty.plan(tick, worth_at(tick), kImages, nullptr, true);
    }
    prices.see(tick, worth_at(tick));
  }
  EXPECT_GE(waited_well, 35);  // of 40 busy times, with budget for 40 images
  EXPECT_LE(hasty_well, 5);    // a budget that is spent at once is spent at a quiet time
}

}  // namespace
}  // namespace forerun::forecast
