#include "store/history_store.h"

#include <gmock/gmock.h>
#include <sqlite3.h>
#include <sys/resource.h>

#include <csignal>

#include <filesystem>
#include <fstream>

namespace forerun::store {
namespace {

using telemetry::HistoryPoint;
using telemetry::Resolution;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Point = HistoryStore::Point;

constexpr int64_t kHour = 3600;
constexpr int64_t kBegin = 1'790'000'000 / kHour * kHour;

class HistoryStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/history_XXXXXX";
    folder_ = mkdtemp(name);
    options_.path = folder_ + "/history.db";
    open();
  }
  void TearDown() override {
    store_.reset();
    std::filesystem::remove_all(folder_);
  }
  void open() {
    store_.reset();
    auto opened = HistoryStore::open(options_);
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = std::move(*opened);
  }
  // Appends `value(i)` of host's cpu_cores for `ticks` ticks of 10 s from `from` on.
  template <typename Value>
  void append(int64_t from, int ticks, Value value) {
    const auto id = store_->series({"host", "cpu_cores"});
    ASSERT_TRUE(id);
    for (int i = 0; i < ticks; ++i) {
      const float now = static_cast<float>(value(i));
      const Status done = store_->append(from + i * 10, {{*id, now, now}});
      ASSERT_TRUE(done) << done.error().message;
    }
  }
  std::vector<Point> read(Resolution resolution, int64_t from = 0, int64_t to = INT64_MAX) {
    const auto points = store_->read({"host", "cpu_cores"}, resolution, from, to);
    EXPECT_TRUE(points) << points.error().message;
    return points ? *points : std::vector<Point>();
  }

  std::string folder_;
  HistoryStoreOptions options_;
  std::unique_ptr<HistoryStore> store_;
};

TEST_F(HistoryStoreTest, CoarserRowsAreMeansAndMaxima) {
  append(kBegin, 13, [](int i) { return i; });
  EXPECT_EQ(read(Resolution::k10s).size(), 13u);
  EXPECT_THAT(read(Resolution::k1min),
              ElementsAre(Point{kBegin, 2.5, 5}, Point{kBegin + 60, 8.5, 11}));
  EXPECT_THAT(read(Resolution::k10s, kBegin + 20, kBegin + 40),
              ElementsAre(Point{kBegin + 20, 2, 2}, Point{kBegin + 30, 3, 3}));
}

TEST_F(HistoryStoreTest, AnHourIsMadeOfItsFiveMinutes) {
  append(kBegin, 361, [](int i) { return i < 180 ? 1 : 3; });
  EXPECT_EQ(read(Resolution::k5min).size(), 12u);
  EXPECT_THAT(read(Resolution::k1h), ElementsAre(Point{kBegin, 2, 3}));
}

TEST_F(HistoryStoreTest, WhatOthersKeptFillsGapsOnly) {
  const auto seen = store_->series({"host", "cpu_cores"});
  const auto other = store_->series({"vm/web", "queue"});
  ASSERT_TRUE(seen && other);
  append(kBegin, 31, [](int) { return 2; });
  const HistoryStore::Rows kept = {{kBegin - 300, {{*seen, 7, 9}}},
                                   {kBegin, {{*seen, 7, 9}, {*other, 5, 6}}},
                                   {kBegin + 300, {{*other, 5, 6}}}};
  const auto added = store_->fill(Resolution::k5min, kept);
  ASSERT_TRUE(added) << added.error().message;
  EXPECT_EQ(*added, 2u);  // what was seen here stays, the span that goes on is left out
  EXPECT_EQ(*store_->fill(Resolution::k5min, kept), 0u);
  EXPECT_THAT(read(Resolution::k5min), ElementsAre(Point{kBegin - 300, 7, 9}, Point{kBegin, 2, 2}));
  EXPECT_THAT(*store_->read({"vm/web", "queue"}, Resolution::k5min, 0, INT64_MAX),
              ElementsAre(Point{kBegin, 5, 6}));
  EXPECT_EQ(store_->fill(Resolution::k5min, {{kBegin + 1, {{*other, 1, 1}}}}).error().code,
            ErrorCode::kInvalid);
}

TEST_F(HistoryStoreTest, WhatOthersKeptSurvivesThatItsHourIsSummedUp) {
  const auto other = store_->series({"vm/web", "queue"});
  ASSERT_TRUE(other);
  // Before anything is appended, and of a time whose hour is summed up later.
  ASSERT_TRUE(store_->fill(Resolution::k1h, {{kBegin, {{*other, 5, 6}}}}));
  append(kBegin, 361, [](int) { return 2; });
  EXPECT_THAT(read(Resolution::k1h), ElementsAre(Point{kBegin, 2, 2}));
  EXPECT_THAT(*store_->read({"vm/web", "queue"}, Resolution::k1h, 0, INT64_MAX),
              ElementsAre(Point{kBegin, 5, 6}));
}

TEST_F(HistoryStoreTest, WhatWasAppendedIsThereAfterARestartAndIsSummedUpOnce) {
  append(kBegin, 4, [](int) { return 2; });
  open();
  append(kBegin + 40, 9, [](int) { return 4; });
  EXPECT_EQ(read(Resolution::k10s).size(), 13u);
  const auto minutes = read(Resolution::k1min);
  ASSERT_EQ(minutes.size(), 2u);
  EXPECT_NEAR(minutes[0].mean, (4 * 2 + 2 * 4) / 6.0, 1e-3);
  EXPECT_THAT(store_->names(), ElementsAre(telemetry::SeriesName{"host", "cpu_cores"}));
}

TEST_F(HistoryStoreTest, ATimeWithoutRowsLeavesNoneAndIsNotMadeUp) {
  append(kBegin, 3, [](int) { return 1; });
  append(kBegin + 30 * kHour, 7, [](int) { return 5; });
  EXPECT_THAT(read(Resolution::k1min),
              ElementsAre(Point{kBegin, 1, 1}, Point{kBegin + 30 * kHour, 5, 5}));
  EXPECT_THAT(read(Resolution::k1h), ElementsAre(Point{kBegin, 1, 1}));
}

TEST_F(HistoryStoreTest, OldRowsGo) {
  append(kBegin, 2, [](int) { return 1; });
  append(kBegin + 4 * kHour, 2, [](int) { return 2; });
  EXPECT_EQ(read(Resolution::k10s).size(), 2u) << "10 s are kept for three hours";
  EXPECT_EQ(read(Resolution::k1min).size(), 1u);
}

TEST_F(HistoryStoreTest, AClockThatGoesBackReplaces) {
  append(kBegin, 20, [](int) { return 1; });
  append(kBegin, 7, [](int) { return 3; });
  EXPECT_EQ(read(Resolution::k10s).size(), 20u);
  EXPECT_EQ(read(Resolution::k10s)[0].mean, 3);
  EXPECT_EQ(read(Resolution::k1min)[0].mean, 1) << "summed up already";
}

TEST_F(HistoryStoreTest, ItStaysWithinItsBytes) {
  options_.bytes_max = 600'000;
  open();
  std::vector<uint32_t> ids;
  for (int i = 0; i < 200; ++i)
    ids.push_back(*store_->series({fmt::format("vm/v{}", i), "cpu_cores"}));
  uint32_t noise = 1;
  for (int tick = 0; tick < 1000; ++tick) {
    std::vector<HistoryPoint> points;
    for (const uint32_t id : ids) {
      noise = noise * 1664525 + 1013904223;
      const float value = static_cast<float>(noise >> 8);
      points.push_back({id, value, value});
    }
    ASSERT_TRUE(store_->append(kBegin + tick * 10, std::move(points)));
  }
  const auto size = store_->size();
  ASSERT_TRUE(size);
  EXPECT_LT(size->bytes, 900'000u);  // the limit, and what came since it was last looked at
  EXPECT_GT(size->rows[1], 100u);
  EXPECT_GT(size->rows[0], 50u);
}

TEST_F(HistoryStoreTest, WhatIsNoHistoryIsRefused) {
  store_.reset();
  std::ofstream(options_.path) << "a text that is no database at all, and long enough for one";
  EXPECT_EQ(HistoryStore::open(options_).error().code, ErrorCode::kCorrupt);
  std::filesystem::remove(options_.path);
  sqlite3* other = nullptr;
  ASSERT_EQ(sqlite3_open(options_.path.c_str(), &other), SQLITE_OK);
  sqlite3_exec(other, "CREATE TABLE t(x); PRAGMA user_version = 9", nullptr, nullptr, nullptr);
  sqlite3_close(other);
  EXPECT_THAT(HistoryStore::open(options_).error().message, HasSubstr("is of version 9"));
}

TEST_F(HistoryStoreTest, SeriesAreCheckedAndBounded) {
  options_.series_max = 1;
  open();
  EXPECT_EQ(store_->series({"guest", "x"}).error().code, ErrorCode::kInvalid);
  const auto first = store_->series({"host", "x"});
  EXPECT_EQ(*store_->series({"host", "x"}), *first);
  EXPECT_EQ(store_->series({"host", "y"}).error().code, ErrorCode::kTooLarge);
  EXPECT_EQ(store_->read({"host", "y"}, Resolution::k1h, 0, 1).error().code, ErrorCode::kNotFound);
}

// A full disk loses the row, not what was there.
TEST_F(HistoryStoreTest, ARowThatDoesNotFitIsToldAndTheRestStays) {
  append(kBegin, 5, [](int) { return 1; });
  store_.reset();
  // A limit of the database's own: the file may not grow.
  const auto id = uint32_t{1};
  auto opened = HistoryStore::open(options_);
  ASSERT_TRUE(opened);
  store_ = std::move(*opened);
  const rlimit before = [] {
    rlimit limit{};
    getrlimit(RLIMIT_FSIZE, &limit);
    return limit;
  }();
  std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const Status lost = store_->append(kBegin + 50, {{id, 9, 9}});
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_FALSE(lost);
  EXPECT_TRUE(store_->append(kBegin + 60, {{id, 2, 2}}));
  EXPECT_EQ(read(Resolution::k10s).size(), 6u);
  open();
  EXPECT_EQ(read(Resolution::k10s).size(), 6u);
}

}  // namespace
}  // namespace forerun::store
