#include "telemetry/metric_query.h"

#include <gmock/gmock.h>

#include <set>

#include "telemetry/sample_grid.h"

namespace forerun::telemetry {
namespace {

using Kind = LabelMatcher::Kind;
using Joined = MetricQuery::Joined;
using Reading = MetricQuery::Reading;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Optional;

constexpr auto kGauge = Reading::kGauge;
constexpr auto kCounter = Reading::kCounter;
const std::optional<double> kNone;

TEST(MetricQuery, ASelectorIsReadAsPrometheusWritesIt) {
  EXPECT_THAT(*parse_selector(R"(up)"), ElementsAre(LabelMatcher{Kind::kEqual, "__name__", "up"}));
  EXPECT_THAT(*parse_selector(R"(cpu{mode!~"idle|iowait", job="a\"b\\", x!="1",})"),
              ElementsAre(LabelMatcher{Kind::kEqual, "__name__", "cpu"},
                          LabelMatcher{Kind::kMatchesNot, "mode", "idle|iowait"},
                          LabelMatcher{Kind::kEqual, "job", R"(a"b\)"},
                          LabelMatcher{Kind::kNotEqual, "x", "1"}));
  EXPECT_THAT(*parse_selector(R"( {job = "x"} )"),
              ElementsAre(LabelMatcher{Kind::kEqual, "job", "x"}));
}

TEST(MetricQuery, AWrongSelectorSaysWhere) {
  for (const auto& [text, why] : {std::pair<std::string, std::string>{"", "needs a name"},
                                  {"{}", "needs a name"},
                                  {"{x!=\"1\"}", "needs a name"},
                                  {"up{", "needs a label at byte 3"},
                                  {"up{a}", "needs one of"},
                                  {"up{a=b}", "double quotes"},
                                  {"up{a=\"b", "does not end"},
                                  {R"(up{a="\q"})", "unknown escape"},
                                  {R"(up{a="b" c="d"})", "needs a ,"},
                                  {"up[5m]", "goes on after its end at byte 2"},
                                  {"rate(up)", "goes on"}}) {
    const auto read = parse_selector(text);
    ASSERT_FALSE(read) << text;
    EXPECT_THAT(read.error().message, HasSubstr(why)) << text;
  }
}

TEST(MetricQuery, AFileOfQueriesIsReadOrRefused) {
  const auto read = parse_metric_queries(
      R"({"queries": [{"metric": "queue", "select": "q", "vm_label": "vm", "as": "counter",
                       "join": "max", "scale": 0.5}, {"metric": "load", "select": "l"}]})");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ((*read)[0].vm_label, "vm");
  EXPECT_EQ((*read)[0].reading, kCounter);
  EXPECT_EQ((*read)[0].joined, Joined::kMax);
  EXPECT_EQ((*read)[0].scale, 0.5);
  EXPECT_EQ((*read)[1].joined, Joined::kSum);
  for (const auto& [text, why] : {std::pair<std::string, std::string>{"[]", "a list \"queries\""},
                                  {R"({"queries": []})", "1 to 200"},
                                  {R"({"queries": [1]})", "queries[0]: must be an object"},
                                  {R"({"queries": [{"metric": "A", "select": "q"}]})", "'A'"},
                                  {R"({"queries": [{"metric": "a"}]})", "select is missing"},
                                  {R"({"queries": [{"as": "rate"}]})", "gauge or counter"},
                                  {R"({"queries": [{"join": 1}]})", "join must be a string"},
                                  {R"({"queries": [{"scale": "1"}]})", "scale must be a number"},
                                  {R"({"queries": [{"seelct": "q"}]})", "not known"}})
    EXPECT_THAT(parse_metric_queries(text).error().message, HasSubstr(why)) << text;
  EXPECT_GT(usual_metric_queries().size(), 10u);
}

TEST(MetricQuery, AnInstanceIsMatchedWithAnyPort) {
  EXPECT_EQ(matcher_of_instance("h1.lab"),
            (LabelMatcher{Kind::kMatches, "instance", R"(h1\.lab(:[0-9]+)?)"}));
}

TEST(SampleGrid, AGaugeIsItsMeanInAMinuteAndStandsForFive) {
  const std::vector<RemoteSample> samples = {{-1000, 8}, {60'000, 1}, {90'000, 3}, {480'000, NAN}};
  EXPECT_THAT(minutes_of(samples, kGauge, 0, 10),
              ElementsAre(8, 2, 3, 3, 3, 3, 3, kNone, kNone, kNone));
}

TEST(SampleGrid, ACounterIsItsRisePerSecond) {
  // 10 a second from 30 s on, then it begins anew.
  const std::vector<RemoteSample> samples = {{30'000, 100}, {150'000, 1300}, {180'000, 60}};
  const MinuteValues values = minutes_of(samples, kCounter, 0, 4);
  EXPECT_THAT(values[0], Optional(testing::DoubleEq(10)));  // half of it is known
  EXPECT_THAT(values[1], Optional(testing::DoubleEq(10)));
  EXPECT_THAT(values[2], Optional(testing::DoubleEq((30 * 10 + 60) / 60.0)));
  EXPECT_EQ(values[3], kNone);
  // Between samples that lie too far apart nothing is known.
  EXPECT_THAT(minutes_of(std::vector<RemoteSample>{{0, 0}, {301'000, 5}}, kCounter, 0, 2),
              ElementsAre(kNone, kNone));
}

RemoteSeries series_of(const std::string& vm, double value) {
  return {{{"domain", vm}, {"vcpu", "0"}}, {{0, value}}};
}

TEST(SampleGrid, SeriesOfOneEntityAreJoined) {
  MetricQuery query;
  query.vm_label = "domain";
  query.scale = 2;
  const std::vector<RemoteSeries> series = {
      series_of("a", 1), series_of("a", 3), series_of("b", 7), {{{"other", "c"}}, {{0, 1}}}};
  const auto value = [&](Joined joined) {
    query.joined = joined;
    return *joined_minutes(query, series, 0, 1).at("a")[0];
  };
  EXPECT_EQ(value(Joined::kSum), 8);
  EXPECT_EQ(value(Joined::kMean), 4);
  EXPECT_EQ(value(Joined::kMax), 6);
  EXPECT_EQ(value(Joined::kCount), 4);
  EXPECT_EQ(joined_minutes(query, series, 0, 1).size(), 2u);
}

TEST(SampleGrid, SumsNeedAllTheirParts) {
  MinuteValues sum = {1, 2, kNone};
  add_where_both(sum, {5, kNone, 6});
  EXPECT_THAT(sum, ElementsAre(6, kNone, kNone));
}

}  // namespace
}  // namespace forerun::telemetry
