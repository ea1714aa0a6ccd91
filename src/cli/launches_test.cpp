#include "cli/launches.h"

#include <gmock/gmock.h>

namespace forerun::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kReport = R"(
{"state":"on", "host":"node", "period_seconds":60, "horizon_seconds":600, "probability_min":0.3,
"came_true_ratio":0.75, "history":{"lines":1200, "images":3, "bytes":40960, "refused_lines":2,
"first_refusal":"line 7: rubbish", "periods_learned":9000}, "budget":{"max_bytes":67108864,
"available_bytes":33554432, "undecided_bytes":1048576}, "items":[{"image":"web",
"probability":0.82, "expected_launches":1.5, "due_at":"2026-11-21T02:40:00Z",
"pieces":[{"name":"recency", "probability":0.5, "weight":1}, {"name":"seasonal",
"probability":0.9, "weight":0.4}], "foreseen_chunks":10, "foreseen_bytes":1048576,
"foreseen_here_bytes":524288, "window_open":true}, {"image":"db", "probability":0.004,
"expected_launches":0, "due_at":null, "pieces":[], "foreseen_bytes":0}],
"windows":[{"image":"web", "probability":0.8, "opened_at":"2026-11-21T02:30:00Z",
"launched_at":null, "outcome":"wasted", "foreseen_bytes":1048576, "fetched_bytes":1048576,
"used_bytes":0, "wasted_bytes":1048576}], "total":{"launches":4, "launches_late":1,
"methods":[{"name":"forerun", "windows":5, "windows_hit":2, "windows_wasted":2,
"launches_ready":3, "bytes":5242880}, {"name":"last_value", "windows":5, "windows_hit":1,
"windows_wasted":4, "launches_ready":1, "bytes":5242880}]}, "hours":[]})";

TEST(LaunchesText, SaysWhatIsExpectedWhoSaidSoAndWhatCameOfIt) {
  const auto text = launches_text(kReport);
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_THAT(*text, HasSubstr("2 lines were damaged and left out: line 7: rubbish"));
  EXPECT_THAT(*text, testing::ContainsRegex("web +82 % +1.50 +02:40:00 +1 MiB +50 % +yes +"
                                            "seasonal 90 %, recency 50 %"));
  EXPECT_THAT(*text, testing::ContainsRegex("db +< 1 % +0.00 +– +– +– +no"));
  EXPECT_THAT(*text, HasSubstr("wasted"));
  EXPECT_THAT(*text, testing::ContainsRegex("forerun +75 % +5 +2 +2 +5 MiB"));
  EXPECT_THAT(*text, testing::ContainsRegex("last_value +25 %"));
  EXPECT_THAT(*text, Not(HasSubstr("by the hour")));
}

TEST(LaunchesText, SaysThatNothingIsForeseenWhereItIsOff) {
  EXPECT_EQ(*launches_text(R"({"state":"off"})"), "Launches are not foreseen here.\n");
  EXPECT_FALSE(launches_text("[]"));
}

TEST(LaunchesText, AnEmptyReportIsNoError) {
  const auto text = launches_text(R"({"state":"learning"})");
  ASSERT_TRUE(text);
  EXPECT_THAT(*text, HasSubstr("the history is being learned"));
  EXPECT_THAT(*text, HasSubstr("Nothing was fetched for a launch yet"));
}

}  // namespace
}  // namespace forerun::cli
