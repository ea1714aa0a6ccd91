#include "forecast/launch_account.h"

#include <gmock/gmock.h>

namespace forerun::forecast {
namespace {

constexpr uint64_t kNow = 1'790'000'000;
constexpr uint64_t kMiB100 = 100 << 20;

LaunchAccount account(LaunchAccount::Options options = {}) {
  return LaunchAccount(options, {"last_value", "most_frequent"});
}

// What a rule chooses, always.
auto always(std::vector<std::string> images) {
  return [images = std::move(images)](size_t) { return images; };
}

uint64_t bytes_of(const std::string&) { return kMiB100; }

TEST(LaunchAccount, ALaunchWithinItsWindowIsAHitAndTheNextOnesAreReady) {
  auto one = account();
  one.open("web", 0.8F, kMiB100, kNow);
  one.on_launch("web", true, kNow + 599);
  one.on_launch("web", true, kNow + 599);
  one.advance(kNow + 600);
  one.on_launch("web", true, kNow + 601);
  EXPECT_EQ(one.total().launches, 3U);
  EXPECT_EQ(one.total().methods[0].launches_ready, 2U);
  EXPECT_EQ(one.total().methods[0].windows_hit, 1U);
  EXPECT_EQ(one.total().methods[0].windows_wasted, 0U);
  ASSERT_EQ(one.windows().size(), 1U);
  EXPECT_EQ(one.windows()[0].outcome, LaunchOutcome::kHit);
  EXPECT_EQ(one.windows()[0].launched, kNow + 599);
}

TEST(LaunchAccount, ALaunchBeforeAllIsHereIsLate) {
  auto one = account();
  one.open("web", 0.8F, kMiB100, kNow);
  one.on_launch("web", false, kNow + 5);
  EXPECT_EQ(one.total().windows_late, 1U);
  EXPECT_EQ(one.total().launches_late, 1U);
  EXPECT_EQ(one.total().methods[0].launches_ready, 0U);
  EXPECT_EQ(one.windows()[0].outcome, LaunchOutcome::kLate);
}

TEST(LaunchAccount, AWindowWithoutALaunchIsWastedAndMayOpenAgain) {
  auto one = account();
  one.open("web", 0.8F, kMiB100, kNow);
  one.open("web", 0.8F, kMiB100, kNow + 300);
  EXPECT_EQ(one.total().methods[0].windows, 1U);
  one.on_launch("db", true, kNow + 400);
  one.advance(kNow + 600);
  EXPECT_EQ(one.total().methods[0].windows_wasted, 1U);
  EXPECT_FALSE(one.is_open("web"));
  one.open("web", 0.7F, kMiB100, kNow + 600);
  EXPECT_EQ(one.total().methods[0].bytes, 2 * kMiB100);
}

TEST(LaunchAccount, IsMutedByWasteAndHeardAgainOnceItWouldHaveBeenRight) {
  auto one = account();
  uint64_t now = kNow;
  const auto windows = [&](int count, bool launch) {
    for (int i = 0; i < count; ++i, now += 600) {
      one.advance(now);
      one.open("web", 0.5F, kMiB100, now);
      if (launch) one.on_launch("web", true, now + 1);
    }
    one.advance(now);
  };
  windows(9, false);
  EXPECT_FALSE(one.muted());
  windows(1, false);
  EXPECT_TRUE(one.muted());
  const uint64_t acted = one.total().methods[0].windows;
  windows(2, true);
  EXPECT_EQ(one.total().methods[0].windows, acted);
  EXPECT_EQ(one.total().methods[0].launches_ready, 0U);
  windows(2, true);
  EXPECT_FALSE(one.muted());
  windows(1, true);
  EXPECT_EQ(one.total().methods[0].launches_ready,
            1U + (one.total().methods[0].windows - acted - 1));
}

TEST(LaunchAccount, RulesSpendTheSameBytesAndNoMore) {
  auto one = account();
  const auto rules = [](size_t rule) {
    return rule == 0 ? std::vector<std::string>{"db", "web"} : std::vector<std::string>{"web"};
  };
  one.open("web", 0.8F, kMiB100, kNow);
  one.spend_as(rules, bytes_of, kNow);
  one.spend_as(rules, bytes_of, kNow + 60);
  one.on_launch("web", true, kNow + 100);
  EXPECT_EQ(one.total().methods[1].windows, 1U);
  EXPECT_EQ(one.total().methods[1].launches_ready, 0U);
  EXPECT_EQ(one.total().methods[2].launches_ready, 1U);
  one.advance(kNow + 600);
  EXPECT_EQ(one.total().methods[1].windows_wasted, 1U);
  EXPECT_EQ(one.total().methods[2].windows_wasted, 0U);
  EXPECT_EQ(one.total().methods[1].bytes, kMiB100);
}

TEST(LaunchAccount, ARuleSavesForWhatItCannotPayYet) {
  auto one = account();
  const auto bytes = [](const std::string& image) {
    return image == "big" ? 2 * kMiB100 : kMiB100;
  };
  one.open("web", 0.8F, kMiB100, kNow);
  one.spend_as(always({"big", "web"}), bytes, kNow);
  EXPECT_EQ(one.total().methods[1].windows, 0U);
  one.open("db", 0.8F, kMiB100, kNow + 60);
  one.spend_as(always({"big", "web"}), bytes, kNow + 60);
  one.on_launch("big", false, kNow + 70);
  EXPECT_EQ(one.total().methods[1].launches_ready, 1U);
}

TEST(LaunchAccount, BytesMeetTheirWindowAlsoAfterItsEnd) {
  auto one = account();
  one.open("web", 0.8F, kMiB100, kNow);
  one.on_fetched("web", 900, kNow + 1);
  one.on_launch("web", true, kNow + 590);
  one.on_used("web", 700, kNow + 595);
  one.advance(kNow + 600);
  one.on_wasted("web", 200, kNow + 710);
  const auto windows = one.windows();
  ASSERT_EQ(windows.size(), 1U);
  EXPECT_EQ(windows[0].fetched_bytes, 900U);
  EXPECT_EQ(windows[0].used_bytes, 700U);
  EXPECT_EQ(windows[0].wasted_bytes, 200U);
  EXPECT_EQ(one.total().used_bytes, 700U);
}

TEST(LaunchAccount, KeepsHoursAndWindowsWithinTheirLimits) {
  auto one = account({.hours_max = 5, .windows_max = 7});
  for (uint64_t i = 0; i < 50; ++i) {
    one.advance(kNow + i * 1800);
    one.open("web", 0.8F, kMiB100, kNow + i * 1800);
    one.on_launch("web", true, kNow + i * 1800 + 1);
  }
  EXPECT_EQ(one.hours().size(), 5U);
  EXPECT_EQ(one.hours().back().launches, 2U);
  EXPECT_EQ(one.hours().back().second % 3600, 0U);
  EXPECT_LE(one.windows().size(), 8U);
  EXPECT_EQ(one.total().launches, 50U);
}

}  // namespace
}  // namespace forerun::forecast
