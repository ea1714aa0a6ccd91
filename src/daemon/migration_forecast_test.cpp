#include "daemon/migration_forecast.h"

#include <gmock/gmock.h>

namespace forerun::daemon {
namespace {

using migrate::MigrationMode;
using testing::HasSubstr;

migrate::MemoryProfile quiet_guest() {
  migrate::MemoryProfile profile{.rounds = {{1000, 1s}, {20, 100ms}, {10, 50ms}},
                                 .pages = 32'768,
                                 .zero_pages = 10'000,
                                 .packed_ratio = 0.5};
  profile.blocks.push_back(
      {{"pc.ram", 32'768 * migrate::kPageBytes}, std::vector<uint8_t>(32'768)});
  for (size_t page = 0; page < 20; ++page) profile.blocks[0].rounds_written[page] = 2;
  return profile;
}

// All pages are written all the time, and nothing of them stays as it was.
migrate::MemoryProfile busy_guest() {
  migrate::MemoryProfile profile = quiet_guest();
  profile.rounds = {{32'768, 300ms}, {32'768, 300ms}, {32'768, 300ms}};
  profile.delta_ratio = 1;
  profile.delta_samples = 200;
  for (uint8_t& written : profile.blocks[0].rounds_written) written = 2;
  return profile;
}

api::MigrateRequest to_b(api::MigrateMode mode = api::MigrateMode::kAuto) {
  api::MigrateRequest request;
  request.to = "b";
  request.mode = mode;
  return request;
}

const LinkFigures kLink{25e6, 4ms};

TEST(MigrationForecast, AutoTakesWhatKeepsThePolicyAndSaysWhy) {
  const auto quiet = choose_mode("m", to_b(), quiet_guest(), 1s, kLink, {});
  EXPECT_EQ(quiet.mode, MigrationMode::kPrecopy);
  ASSERT_TRUE(quiet.forecast);
  EXPECT_EQ(quiet.forecast->mode, "precopy");
  EXPECT_THAT(quiet.forecast->reason, HasSubstr("keeps the policy"));
  EXPECT_EQ(quiet.forecast->memory_bytes, 128u << 20);
  EXPECT_EQ(quiet.forecast->dry_run_s, 1);
  ASSERT_EQ(quiet.forecast->modes.size(), 3u);
  // 22768 pages that pack to half of their size, at 25 MB/s.
  EXPECT_NEAR(quiet.forecast->modes[0].total_s.expected, 22'768 * 2064 / 25e6, 0.1);

  const auto busy = choose_mode("m", to_b(), busy_guest(), 1s, kLink, {});
  EXPECT_NE(busy.mode, MigrationMode::kPrecopy);
  EXPECT_FALSE(busy.forecast->modes[0].fits_policy);
  EXPECT_THAT(busy.forecast->modes[0].why_not, HasSubstr("of downtime"));
}

TEST(MigrationForecast, PolicyComesFromTheRequest) {
  api::MigrateRequest request = to_b();
  request.switch_within_ms = 500;
  request.degradation_percent_max = 100;
  const auto leaves = choose_mode("m", request, quiet_guest(), 1s, kLink, {});
  EXPECT_EQ(leaves.mode, MigrationMode::kPostcopy);
  EXPECT_EQ(leaves.hot, migrate::HotPages::kSend);
  request.degradation_percent_max = 0;
  const auto none = choose_mode("m", request, quiet_guest(), 1s, kLink, {});
  EXPECT_THAT(none.forecast->reason, HasSubstr("no way keeps the policy"));
}

TEST(MigrationForecast, AModeThatWasAskedForIsTakenAndForeseen) {
  const auto asked =
      choose_mode("m", to_b(api::MigrateMode::kPostcopy), quiet_guest(), 1s, kLink, {});
  EXPECT_EQ(asked.mode, MigrationMode::kPostcopy);
  EXPECT_EQ(asked.forecast->mode, "postcopy");
  EXPECT_EQ(asked.forecast->reason, "postcopy was asked for");
}

TEST(MigrationForecast, ARateThatWasAskedForIsTheLink) {
  api::MigrateRequest request = to_b();
  request.rate_bytes_per_s_max = 5'000'000;
  const auto slow = choose_mode("m", request, quiet_guest(), 1s, kLink, {});
  EXPECT_EQ(slow.forecast->link_bytes_per_s, 5e6);
}

TEST(MigrationForecast, WhatIsNotKnownIsNotForeseenAndEndsInAnyCase) {
  const auto no_link =
      choose_mode("m", to_b(), quiet_guest(), 1s, fail(ErrorCode::kUnavailable, "it is cut"), {});
  EXPECT_FALSE(no_link.forecast);
  EXPECT_EQ(no_link.mode, MigrationMode::kHybrid);
  const auto no_guest = choose_mode("m", to_b(), {}, 1s, kLink, {});
  EXPECT_FALSE(no_guest.forecast);
  EXPECT_EQ(no_guest.mode, MigrationMode::kHybrid);
  EXPECT_EQ(choose_mode("m", to_b(api::MigrateMode::kPrecopy), {}, 1s, kLink, {}).mode,
            MigrationMode::kPrecopy);
}

TEST(MigrationForecast, AsMuchIsUnderWayAsTheLinkNeeds) {
  EXPECT_EQ(bytes_under_way({25e6, 4ms}), 400'000u);
  EXPECT_EQ(bytes_under_way({1e6, 1ms}), 256u << 10);
  EXPECT_EQ(bytes_under_way({1.25e9, 10ms}), 4u << 20);
}

TEST(LinkRate, LeavesOutWhereTcpLearns) {
  const Time t{};
  // A slow first half, then 1 MB in 40 ms.
  EXPECT_NEAR(rate_of({{t + 0ms, 100'000},
                       {t + 500ms, 1'000'000},
                       {t + 520ms, 1'500'000},
                       {t + 540ms, 2'000'000}}),
              25e6, 1e3);
  EXPECT_NEAR(rate_of({{t + 0ms, 1'000}, {t + 100ms, 101'000}}), 1e6, 1);  // two pieces
  EXPECT_EQ(rate_of({}), 0);
  EXPECT_EQ(rate_of({{t, 5000}}), 0);
  EXPECT_EQ(rate_of({{t, 5000}, {t, 9000}}), 0);  // no time went by
}

}  // namespace
}  // namespace forerun::daemon
