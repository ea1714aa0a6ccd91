#include "vmm/qmp.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/qmp_fixture.h"

namespace forerun::vmm {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;

// Starts a client against a QEMU that greets, accepts the capabilities and then says `answers`.
Result<std::unique_ptr<QmpClient>> talk(std::string_view answers, QmpLimits limits = {}) {
  static std::string unread;  // what the client writes; no test that uses this looks at it
  return QmpClient::start(
      std::make_unique<ScriptedStream>(std::string(kHello) + std::string(answers), &unread),
      limits);
}

TEST(Qmp, NegotiatesAndAsksForTheState) {
  std::string written;
  auto client = QmpClient::start(std::make_unique<ScriptedStream>(
      std::string(kHello) + "{\"return\": {\"status\": \"paused\", \"running\": false}}\n",
      &written));
  ASSERT_TRUE(client);
  EXPECT_EQ((*client)->run_state(), "paused");
  EXPECT_THAT(written,
              MatchesRegex("\\{\"execute\":\"qmp_capabilities\",\"id\":\"[0-9a-f]+-1\"\\}\n"
                           "\\{\"execute\":\"query-status\",\"id\":\"[0-9a-f]+-2\"\\}\n"));
}

TEST(Qmp, SkipsEvents) {
  auto client = talk(
      "{\"timestamp\": {}, \"event\": \"RESUME\"}\n{\"event\": \"POWERDOWN\"}\n{\"return\": {}}\n");
  ASSERT_TRUE(client);
  EXPECT_TRUE((*client)->power_down());
}

TEST(Qmp, AnswersToAnEarlierClientAreSkipped) {
  std::string written;
  auto client = QmpClient::start(std::make_unique<ScriptedStream>(
      "{\"return\": 1, \"id\": \"gone-7\"}\n" + std::string(kHello) +
          "{\"id\": \"gone-8\", \"error\": {\"desc\": \"no\"}}\n{\"return\": 2}\n",
      &written));
  ASSERT_TRUE(client);
  EXPECT_EQ((*client)->execute("x"), "2");
}

TEST(Qmp, AMonitorThatWasNegotiatedWithTakesCommandsOutOfBand) {
  std::string written;
  const auto client = QmpClient::go_on(
      std::make_unique<ScriptedStream>("{\"event\": \"STOP\"}\n{\"return\": {}}\n", &written));
  EXPECT_TRUE(client->execute_out_of_band("migrate-pause", "{}"));
  EXPECT_THAT(written, MatchesRegex("\\{\"exec-oob\":\"migrate-pause\",\"id\":\"[0-9a-f]+-1\","
                                    "\"arguments\":\\{\\}\\}\n"));
}

TEST(Qmp, AnEventEndsAWait) {
  auto client = talk("{\"event\": \"MIGRATION\"}\n{\"event\": \"STOP\"}\n{\"return\": 3}\n");
  ASSERT_TRUE(client);
  for (bool is_told = false; !is_told;) {
    const auto waited = (*client)->wait_for_event(1ms);
    ASSERT_TRUE(waited);
    is_told = *waited;
  }
  EXPECT_EQ((*client)->execute("x"), "3");
}

TEST(Qmp, EventsThatComeBeforeAnAnswerAreKeptInTheirOrder) {
  auto client =
      talk(R"({"timestamp": {"seconds": 1790000000, "microseconds": 250000}, "event": "STOP"})"
           "\n"
           R"({"timestamp": {"seconds": 1790000000, "microseconds": 260000}, "event": "MIGRATION",)"
           R"( "data": {"status": "pre-switchover"}})"
           "\n{\"return\": 1}\n{\"return\": 2}\n");
  ASSERT_TRUE(client);
  ASSERT_EQ((*client)->execute("x"), "1");
  EXPECT_EQ((*client)->wait_for_event(1ms), true);
  const Nanos second = std::chrono::seconds(1'790'000'000);
  EXPECT_EQ((*client)->take_events(),
            (std::vector<QmpEvent>{{"STOP", "", second + 250ms},
                                   {"MIGRATION", "pre-switchover", second + 260ms}}));
  EXPECT_EQ((*client)->take_events(), std::vector<QmpEvent>());
}

TEST(Qmp, OfMoreEventsThanAreKeptTheOldestAreForgotten) {
  auto client =
      talk("{\"event\": \"A\"}\n{\"event\": \"B\"}\n{\"event\": \"C\"}\n{\"return\": 1}\n",
           {.events_kept_max = 2});
  ASSERT_TRUE(client);
  ASSERT_EQ((*client)->execute("x"), "1");
  EXPECT_EQ((*client)->take_events(), (std::vector<QmpEvent>{{"B", "", {}}, {"C", "", {}}}));
}

TEST(Qmp, RefusalCarriesTheWordsOfQemuAndIsNotFatal) {
  auto client = talk(
      "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such thing\"}}\n{\"return\": 5}\n");
  ASSERT_TRUE(client);
  const auto refused = (*client)->execute("x");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(refused.error().message, HasSubstr("no such thing"));
  EXPECT_EQ((*client)->execute("y"), "5");
}

TEST(Qmp, QuitCountsAConnectionThatEndsAsSuccess) {
  auto client = talk("");
  ASSERT_TRUE(client);
  EXPECT_TRUE((*client)->quit());
  const auto state = (*client)->run_state();
  ASSERT_FALSE(state);
  EXPECT_EQ(state.error().code, ErrorCode::kUnavailable);
}

TEST(Qmp, LineOverTheLimitIsRefused) {
  auto client = talk("{\"return\": \"" + std::string(200, 'x') + "\"}\n", {.line_bytes_max = 128});
  ASSERT_TRUE(client);
  EXPECT_EQ((*client)->execute("x").error().code, ErrorCode::kTooLarge);
}

TEST(Qmp, EventFloodIsRefused) {
  auto client =
      talk("{\"event\": \"A\"}\n{\"event\": \"A\"}\n{\"event\": \"A\"}\n{\"return\": {}}\n",
           {.events_skipped_max = 2});
  ASSERT_TRUE(client);
  EXPECT_EQ((*client)->execute("x").error().code, ErrorCode::kTooLarge);
}

TEST(Qmp, WhatIsNotQmpIsRefused) {
  std::string written;
  for (const std::string_view greeting :
       {"hello\n", "[1]\n", "{}\n", "{\"QMP\":{}}\n{\"surprise\":1}\n"}) {
    const auto refused =
        QmpClient::start(std::make_unique<ScriptedStream>(std::string(greeting), &written));
    ASSERT_FALSE(refused) << greeting;
    EXPECT_EQ(refused.error().code, ErrorCode::kCorrupt) << greeting;
  }
  auto client = talk(std::string(100, '[') + "\n");
  ASSERT_TRUE(client);
  EXPECT_EQ((*client)->execute("x").error().code, ErrorCode::kCorrupt);
}

TEST(Qmp, ListsBlockDevicesAndTheirErrors) {
  auto client = talk(R"({"return": [{"qdev": "/machine/x/virtio-backend", "io-status": "ok",)"
                     R"( "inserted": {"node-name": "disk0"}}, {"io-status": "nospace"}, 7]})"
                     "\n");
  ASSERT_TRUE(client);
  const auto devices = (*client)->block_devices();
  ASSERT_TRUE(devices);
  ASSERT_EQ(devices->size(), 2u);
  EXPECT_EQ((*devices)[0].node_name, "disk0");
  EXPECT_FALSE((*devices)[0].io_error);
  EXPECT_TRUE((*devices)[1].io_error);
}

}  // namespace
}  // namespace forerun::vmm
