#include "net/switch_control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace forerun::net {
namespace {

using testing::HasSubstr;

TEST(SwitchControl, ChangesComeBackAsTheyWere) {
  const std::vector<LinkChange> changes = {
      {0, 1, 5ms, 25'000'000, 4096, false},
      {1, 0, std::nullopt, 0, std::nullopt, std::nullopt},
  };
  const auto decoded = decode_changes(encode_changes(changes));
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(*decoded, changes);
}

TEST(SwitchControl, StateComesBackAsItWas) {
  const SwitchState state{
      {{0, 1, {5ms, 1000, 0, false}, {1, 2, 3, 4}}, {1, 0, {}, {5, 6, 7, 8}}},
      {9, 0},
  };
  const auto decoded = decode_state(encode_state(state));
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(*decoded, state);
}

TEST(SwitchControl, ARefusalIsAnErrorWithItsReason) {
  const auto decoded = decode_state(encode_refusal({ErrorCode::kInvalid, "no such port", 0}));
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().message, "no such port");
}

TEST(SwitchControl, RefusesWhatIsNoRequest) {
  for (const char* text :
       {"", "[]", "{}", R"({"changes":1})", R"({"changes":[1]})", R"({"changes":[{"from":0}]})",
        R"({"changes":[{"from":-1,"to":1}]})", R"({"changes":[{"from":0,"to":1.5}]})",
        R"({"changes":[{"from":0,"to":1,"is_up":1}]})",
        R"({"changes":[{"from":0,"to":1,"delay_ns":"5ms"}]})",
        R"({"changes":[{"from":0,"to":1,"delay_ns":60000000001}]})"}) {
    const auto decoded = decode_changes(text);
    ASSERT_FALSE(decoded) << text;
    EXPECT_EQ(decoded.error().code, ErrorCode::kInvalid) << text;
  }
}

TEST(SwitchControl, RefusesSettingsOverTheirLimits) {
  EXPECT_TRUE(check_link({.delay = 60s, .rate_bytes_per_s = 125}));
  EXPECT_THAT(check_link({.delay = 61s}).error().message, HasSubstr("delay"));
  EXPECT_THAT(check_link({.rate_bytes_per_s = 124}).error().message, HasSubstr("rate"));
  EXPECT_THAT(check_link({.queue_bytes_max = 1 * kGiB}).error().message, HasSubstr("queue"));
}

}  // namespace
}  // namespace forerun::net
