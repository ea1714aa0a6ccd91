#include "daemon/recorder.h"

#include <gmock/gmock.h>

namespace forerun::daemon {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using trace::Op;
using Request = api::RecordedRequest;

class RecorderTest : public ::testing::Test {
 protected:
  std::shared_ptr<Recording> start(const std::string& vm) {
    auto recording = recorder_.start(vm);
    EXPECT_TRUE(recording) << recording.error().message;
    return recording ? *recording : nullptr;
  }
  api::RecordedRequests collect(const std::string& vm, const Recording& recording,
                                bool ends = false) {
    auto got = recorder_.collect(vm, recording.id(), ends);
    EXPECT_TRUE(got) << got.error().message;
    return got ? *got : api::RecordedRequests{};
  }

  ManualClock clock_;
  Recorder recorder_{{.requests_max = 8, .recordings_max = 2, .collected_max = 4}, clock_};
};

TEST_F(RecorderTest, GivesOutRequestsWithTheirTimesAndSectors) {
  clock_.advance(5s);
  const auto recording = start("web");
  recording->note(clock_.now(), Op::kRead, {4096, 8192});
  clock_.advance(1500us);
  recording->note(clock_.now(), Op::kWrite, {512, 512});
  const auto got = collect("web", *recording);
  EXPECT_THAT(got.requests, ElementsAre(Request{0, false, 8, 16}, Request{1500, true, 1, 1}));
  EXPECT_EQ(got.lost, 0U);
  EXPECT_FALSE(got.has_more);
  EXPECT_FALSE(got.has_ended);
  EXPECT_TRUE(collect("web", *recording).requests.empty());
}

TEST_F(RecorderTest, BytesBecomeTheSectorsThatHoldThem) {
  const auto recording = start("web");
  recording->note(clock_.now(), Op::kRead, {511, 2});
  recording->note(clock_.now(), Op::kRead, {1024, 1});
  recording->note(clock_.now(), Op::kRead, {1024, 0});  // none
  EXPECT_THAT(collect("web", *recording).requests,
              ElementsAre(Request{0, false, 0, 2}, Request{0, false, 2, 1}));
}

TEST_F(RecorderTest, FullRingLosesAndCounts) {
  const auto recording = start("web");
  for (uint64_t i = 0; i < 11; ++i) recording->note(clock_.now(), Op::kRead, {i * 512, 512});
  const auto first = collect("web", *recording);
  EXPECT_EQ(first.requests.size(), 4U);
  EXPECT_EQ(first.requests.front().first_sector, 0U);
  EXPECT_TRUE(first.has_more);
  EXPECT_EQ(first.lost, 3U);
  EXPECT_EQ(collect("web", *recording).requests.back().first_sector, 7U);
}

TEST_F(RecorderTest, RestCanBeCollectedAfterTheEnd) {
  const auto recording = start("web");
  for (uint64_t i = 0; i < 6; ++i) recording->note(clock_.now(), Op::kRead, {i * 512, 512});
  recording->end("the VM stopped");
  recording->note(clock_.now(), Op::kRead, {0, 512});  // too late
  const auto first = collect("web", *recording);
  EXPECT_TRUE(first.has_ended);
  EXPECT_TRUE(first.has_more);
  EXPECT_EQ(first.end_reason, "the VM stopped");
  const auto rest = collect("web", *recording);
  EXPECT_EQ(rest.requests.size(), 2U);
  EXPECT_FALSE(rest.has_more);
  const auto after = recorder_.collect("web", recording->id(), false);
  ASSERT_FALSE(after);
  EXPECT_EQ(after.error().code, ErrorCode::kNotFound);
}

TEST_F(RecorderTest, OneWhoAsksForTheEndGetsIt) {
  const auto recording = start("web");
  recording->note(clock_.now(), Op::kRead, {0, 512});
  const auto got = collect("web", *recording, true);
  EXPECT_EQ(got.requests.size(), 1U);
  EXPECT_TRUE(got.has_ended);
  EXPECT_FALSE(recording->is_on());
  EXPECT_TRUE(recorder_.start("web"));
}

TEST_F(RecorderTest, OneRecordingAVmAndFewInAll) {
  const auto web = start("web");
  const auto again = recorder_.start("web");
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::kExists);
  const auto db = start("db");
  const auto third = recorder_.start("cache");
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().code, ErrorCode::kTooLarge);
  EXPECT_FALSE(recorder_.collect("db", web->id(), false));
}

TEST_F(RecorderTest, RecordingThatNobodyCollectsEnds) {
  const auto recording = start("web");
  recording->note(clock_.now(), Op::kRead, {0, 512});
  clock_.advance(19s);
  recorder_.tick();
  EXPECT_TRUE(recording->is_on());
  collect("web", *recording);
  clock_.advance(19s);
  recorder_.tick();
  EXPECT_TRUE(recording->is_on());
  clock_.advance(1s);
  recorder_.tick();
  EXPECT_FALSE(recording->is_on());
  const auto got = recorder_.collect("web", recording->id(), false);
  ASSERT_FALSE(got);
  EXPECT_THAT(got.error().message, HasSubstr("VM web has no recording"));
}

}  // namespace
}  // namespace forerun::daemon
