#include "cli/progress.h"

#include <gtest/gtest.h>

#include "core/bytes.h"

namespace forerun::cli {
namespace {

TEST(Progress, BarShowsShareRateAndRest) {
  Progress progress(Progress::Style::kBar, kTimeZero);
  EXPECT_EQ(
      progress.update({512 * kMiB, kGiB, "reading"}, kTimeZero + 4s),
      "\r[############............]  50 % 512 MiB of 1 GiB, 128 MiB/s, 4 s left · reading\x1b[K");
  EXPECT_EQ(progress.finish(), "\n");
}

TEST(Progress, LinesComeEveryTenSeconds) {
  Progress progress(Progress::Style::kLines, kTimeZero);
  EXPECT_EQ(progress.update({kMiB, 0, ""}, kTimeZero + 9s), "");
  EXPECT_EQ(progress.update({10 * kMiB, 0, ""}, kTimeZero + 10s), "10 MiB, 1 MiB/s\n");
  EXPECT_EQ(progress.update({10 * kMiB, 0, ""}, kTimeZero + 19s), "");
  EXPECT_NE(progress.update({10 * kMiB, 0, ""}, kTimeZero + 20s), "");
  EXPECT_EQ(progress.finish(), "");
}

TEST(Progress, NothingIsSaidWhenNobodyReads) {
  Progress progress(Progress::Style::kNone, kTimeZero);
  EXPECT_EQ(progress.update({1, 2, ""}, kTimeZero + 60s), "");
}

TEST(Progress, MoreDoneThanTotalIsFull) {
  Progress progress(Progress::Style::kBar, kTimeZero);
  EXPECT_EQ(progress.update({2, 1, ""}, kTimeZero),
            "\r[########################] 100 % 2 B of 1 B\x1b[K");
}

TEST(Progress, WhatHasNoEndInSightShowsNoShare) {
  Progress bar(Progress::Style::kBar, kTimeZero);
  EXPECT_EQ(bar.update({0, 0, "Setting up nginx"}, kTimeZero + 1s), "\rSetting up nginx\x1b[K");
  EXPECT_EQ(bar.update({kMiB, 0, "98 names"}, kTimeZero + 1s), "\r1 MiB, 1 MiB/s · 98 names\x1b[K");
}

}  // namespace
}  // namespace forerun::cli
