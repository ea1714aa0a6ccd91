#include "telemetry/history.h"

#include <gmock/gmock.h>

#include <cmath>

#include "core/rng.h"

namespace forerun::telemetry {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(SeriesName, IsCheckedByPart) {
  EXPECT_TRUE(check({"host", "cpu_cores"}));
  EXPECT_TRUE(check({"vm/web-1", "requests_per_s"}));
  EXPECT_THAT(check({"vm/", "x"}).error().message, HasSubstr("neither host nor vm/NAME"));
  EXPECT_THAT(check({"vm/../x", "x"}).error().message, HasSubstr("neither host nor vm/NAME"));
  EXPECT_THAT(check({"host", "CPU"}).error().message, HasSubstr("metric 'CPU'"));
  EXPECT_FALSE(check({"host", ""}));
  EXPECT_FALSE(check({"host", std::string(65, 'a')}));
}

TEST(Resolution, IsTheFinestThatFits) {
  EXPECT_EQ(resolution_for(3600, 500), Resolution::k10s);
  EXPECT_EQ(resolution_for(3600, 300), Resolution::k1min);
  EXPECT_EQ(resolution_for(4 * 3600, 5000), Resolution::k1min);  // 10 s are kept for three hours
  EXPECT_EQ(resolution_for(7 * 86400, 5000), Resolution::k5min);
  EXPECT_EQ(resolution_for(int64_t{3650} * 86400, 10), Resolution::k1h);
}

TEST(HistoryRow, ComesBackToOneInEightThousand) {
  Rng rng(3);
  std::vector<HistoryPoint> points;
  for (uint32_t i = 0; i < 5000; ++i) {
    const float mean = static_cast<float>(std::exp(static_cast<double>(rng.below(80)) - 40));
    points.push_back({i * 3 + 1, mean, mean * (rng.below(2) == 0 ? 1.0f : 1.5f)});
  }
  points.push_back({20'000, 0, 0});
  points.push_back({20'001, -3.5f, 2});
  const auto back = decode_row(encode_row(points));
  ASSERT_TRUE(back) << back.error().message;
  ASSERT_EQ(back->size(), points.size());
  for (size_t i = 0; i < points.size(); ++i) {
    EXPECT_EQ((*back)[i].series, points[i].series);
    EXPECT_NEAR((*back)[i].mean, points[i].mean, std::abs(points[i].mean) / 8192);
    EXPECT_NEAR((*back)[i].max, points[i].max, std::abs(points[i].max) / 8192);
  }
}

TEST(HistoryRow, ItsPointsAreSortedAndTheLargestValueStaysFinite) {
  const float huge = std::numeric_limits<float>::max();
  const auto back = decode_row(encode_row({{7, huge, huge}, {2, 1, 1}}));
  ASSERT_TRUE(back);
  EXPECT_EQ((*back)[0].series, 2u);
  EXPECT_TRUE(std::isfinite((*back)[1].mean));
  EXPECT_TRUE(decode_row(encode_row({}))->empty());
}

TEST(HistoryRow, DamageIsToldAndNeverCrashes) {
  std::vector<HistoryPoint> points;
  for (uint32_t i = 1; i < 200; ++i) points.push_back({i, static_cast<float>(i), 2.0f * i});
  const Buffer whole = encode_row(points);
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_FALSE(decode_row(ByteView(whole).first(length))) << length;
  Rng rng(1);
  for (int i = 0; i < 2000; ++i) {
    Buffer changed = whole;
    changed[rng.below(changed.size())] ^= static_cast<std::byte>(1 + rng.below(255));
    if (const auto read = decode_row(changed)) EXPECT_LE(read->size(), kRowPointsMax);
  }
  Buffer many = whole;
  many[4] = std::byte{0xff};
  EXPECT_EQ(decode_row(many).error().code, ErrorCode::kTooLarge);
}

TEST(RowMerger, MeansAndMaximaOfThoseThatHaveThem) {
  RowMerger merger;
  merger.add(std::vector<HistoryPoint>{{1, 1, 4}, {3, 10, 10}});
  merger.add(std::vector<HistoryPoint>{{1, 3, 3}, {2, 5, 6}});
  merger.add(std::vector<HistoryPoint>{{3, 20, 40}});
  EXPECT_THAT(merger.take(),
              ElementsAre(HistoryPoint{1, 2, 4}, HistoryPoint{2, 5, 6}, HistoryPoint{3, 15, 40}));
  EXPECT_TRUE(merger.is_empty());
}

}  // namespace
}  // namespace forerun::telemetry
