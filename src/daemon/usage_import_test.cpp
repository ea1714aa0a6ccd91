#include "daemon/usage_import.h"

#include <gmock/gmock.h>

#include <filesystem>

namespace forerun::daemon {
namespace {

using telemetry::LabelMatcher;
using telemetry::MetricQuery;
using telemetry::RemoteQuery;
using telemetry::RemoteSeries;
using telemetry::Resolution;
using testing::HasSubstr;

constexpr int64_t kBegin = 1'790'000'000 / 86'400 * 86'400;

// A Prometheus that has a sample every minute.
struct FakeKeeper {
  std::map<std::string, std::vector<RemoteSeries>> by_name;  // with one sample: its value
  std::vector<RemoteQuery> asked;
  int64_t span_ms_max = INT64_MAX;

  Result<std::vector<RemoteSeries>> read(const RemoteQuery& query) {
    asked.push_back(query);
    if (query.until_ms - query.from_ms > span_ms_max)
      return fail(ErrorCode::kTooLarge, "too many samples");
    std::vector<RemoteSeries> series = by_name[query.matchers.front().value];
    for (RemoteSeries& each : series) {
      const double value = each.samples.front().value;
      each.samples.clear();
      for (int64_t at = query.from_ms; at <= query.until_ms; at += 60'000)
        each.samples.push_back({at, value});
    }
    return series;
  }
};

class UsageImportTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/usage_import_XXXXXX";
    folder_ = mkdtemp(name);
    auto opened = store::HistoryStore::open({.path = folder_ + "/history.db"});
    ASSERT_TRUE(opened) << opened.error().message;
    history_ = std::move(*opened);
    job_.from_s = kBegin;
    job_.until_s = kBegin + 13 * 3600;
    job_.read = [this](const RemoteQuery& query) { return keeper_.read(query); };
  }
  void TearDown() override {
    history_.reset();
    std::filesystem::remove_all(folder_);
  }
  void ask(const std::string& metric, const std::string& select, double scale = 1,
           const std::string& vm_label = "") {
    MetricQuery query;
    query.metric = metric;
    query.select = *telemetry::parse_selector(select);
    query.scale = scale;
    query.vm_label = vm_label;
    job_.queries.push_back(query);
  }
  std::vector<store::HistoryStore::Point> points(const std::string& entity,
                                                 const std::string& metric, Resolution of) {
    const auto read = history_->read({entity, metric}, of, 0, INT64_MAX);
    EXPECT_TRUE(read) << read.error().message;
    return read ? *read : std::vector<store::HistoryStore::Point>();
  }

  std::string folder_;
  std::unique_ptr<store::HistoryStore> history_;
  FakeKeeper keeper_;
  UsageImportJob job_;
};

TEST_F(UsageImportTest, WindowsFillAllResolutionsAndDifferencesNeedBothParts) {
  keeper_.by_name["total"] = {{{}, {{0, 100}}}};
  keeper_.by_name["free"] = {{{}, {{0, 30}}}};
  keeper_.by_name["queue"] = {{{{"vm", "web"}}, {{0, 5}}}, {{{"vm", "no name"}}, {{0, 5}}}};
  ask("memory_bytes", "total");
  ask("memory_bytes", "free", -1);
  ask("queue", "queue", 1, "vm");
  ask("gone_bytes", "total");
  ask("gone_bytes", "absent", -1);
  job_.instance = "h1";
  const auto done = import_usage(job_, *history_);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->series, 2u);
  EXPECT_EQ(done->refused, 1u);
  EXPECT_EQ(done->until_s, job_.until_s);
  EXPECT_EQ(done->points, 2u * (13 * 60 + 13 * 12 + 13));
  const auto memory = points("host", "memory_bytes", Resolution::k5min);
  ASSERT_EQ(memory.size(), 13u * 12);
  EXPECT_EQ(memory.front(), (store::HistoryStore::Point{kBegin, 70, 70}));
  EXPECT_EQ(points("vm/web", "queue", Resolution::k1h).size(), 13u);
  EXPECT_EQ(keeper_.asked.front().matchers.back(), telemetry::matcher_of_instance("h1"));
  EXPECT_EQ(import_usage(job_, *history_)->points, 0u);  // nothing is added twice
}

TEST_F(UsageImportTest, AnAnswerThatIsTooLargeIsAskedForInParts) {
  keeper_.by_name["total"] = {{{}, {{0, 1}}}};
  keeper_.span_ms_max = 2 * 3600 * 1000;
  ask("total", "total");
  const auto done = import_usage(job_, *history_);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(points("host", "total", Resolution::k1h).size(), 13u);
  keeper_.span_ms_max = 1000;
  EXPECT_EQ(import_usage(job_, *history_).error().code, ErrorCode::kTooLarge);
}

TEST_F(UsageImportTest, EachResolutionReachesAsFarBackAsItIsKept) {
  keeper_.by_name["total"] = {{{}, {{0, 1}}}};
  ask("total", "total");
  job_.until_s = kBegin + 40 * 86'400 + 100;
  job_.from_s = kBegin + 37 * 86'400;
  ASSERT_TRUE(import_usage(job_, *history_));
  EXPECT_EQ(points("host", "total", Resolution::k1h).size(), 3u * 24);
  EXPECT_EQ(points("host", "total", Resolution::k5min).size(), 3u * 288);
  EXPECT_EQ(points("host", "total", Resolution::k1min).size(), 2u * 1440 + 1);
}

TEST_F(UsageImportTest, PeopleCanEndIt) {
  keeper_.by_name["total"] = {{{}, {{0, 1}}}};
  ask("total", "total");
  job_.go_on = [](uint64_t done_s, uint64_t total_s) {
    EXPECT_EQ(done_s, 6u * 3600);
    EXPECT_EQ(total_s, 13u * 3600);
    return false;
  };
  EXPECT_EQ(import_usage(job_, *history_)->until_s, kBegin + 6 * 3600);
}

TEST_F(UsageImportTest, WithoutASourceItIsSaidSo) {
  const auto importer =
      UsageImporter::create(UsageImporter::Options{}, *history_, [] { return kBegin; });
  ASSERT_TRUE(importer);
  EXPECT_THAT((*importer)->prepare({}).error().message, HasSubstr("prometheus_url is not set"));
  EXPECT_THAT((*importer)->prepare({.url = "ftp://x"}).error().message, HasSubstr("no http"));
  EXPECT_TRUE((*importer)->prepare({.url = "http://[::1]:9090/prefix/"}));
}

}  // namespace
}  // namespace forerun::daemon
