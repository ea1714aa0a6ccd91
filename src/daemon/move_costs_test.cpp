#include "daemon/move_costs.h"

#include <gmock/gmock.h>

namespace forerun::daemon {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr int64_t kNow = 1'790'000'000;
constexpr uint64_t kGib = 1ull << 30;

class MoveCostsTest : public testing::Test {
 protected:
  // A migration of `vm` from here, as it was foreseen.
  void note_migration(const std::string& vm, const std::string& to, double link_bytes_per_s,
                      double written_bytes_per_s, int64_t at) {
    api::MigrationInfo info;
    info.id = "m-" + std::to_string(++count_);
    info.began_unix_seconds = at;
    info.state = "running";
    info.forecast.vm = vm;
    info.forecast.to = to;
    info.forecast.written_bytes = static_cast<uint64_t>(written_bytes_per_s);
    info.forecast.written_bytes_per_s = written_bytes_per_s;
    info.forecast.link_bytes_per_s = link_bytes_per_s;
    info.forecast.round_trip_s = 0.002;
    ledger_->begin(info);
  }
  place::MoveCost cost(const std::string& vm) const {
    return move_cost(costs_.known(kNow), vm, kGib, kGib, 100e6);
  }

  int count_ = 0;
  std::unique_ptr<MigrationLedger> ledger_ = MigrationLedger::open("");
  MoveCosts costs_{*ledger_};
};

TEST_F(MoveCostsTest, WithoutAMeasurementTheRulesFigureStands) {
  EXPECT_FALSE(costs_.known(kNow).link);
  EXPECT_NEAR(cost("web").seconds, 1.07e9 / 100e6, 4);
}

TEST_F(MoveCostsTest, ASlowLinkMakesAMoveTakeLonger) {
  costs_.note("b", LinkFigures{10e6, std::chrono::milliseconds(1)}, kNow);
  EXPECT_GT(cost("web").seconds, 60);
  costs_.note("b", LinkFigures{1e9, std::chrono::milliseconds(1)}, kNow);
  EXPECT_LT(cost("web").seconds, 4);
}

TEST_F(MoveCostsTest, TheMedianLinkCountsAndOldOnesDoNot) {
  costs_.note("b", LinkFigures{10e6, {}}, kNow);
  costs_.note("c", LinkFigures{100e6, {}}, kNow);
  costs_.note("d", LinkFigures{1000e6, {}}, kNow);
  EXPECT_EQ(costs_.known(kNow).link->bytes_per_s, 100e6);
  EXPECT_FALSE(costs_.known(kNow + MoveCosts::kLinkKept_s + 1).link);
}

TEST_F(MoveCostsTest, WhatAMigrationMeasuredCountsIfItIsNewer) {
  costs_.note("b", LinkFigures{10e6, {}}, kNow - 100);
  note_migration("web", "b", 50e6, 0, kNow - 200);
  EXPECT_EQ(costs_.known(kNow).link->bytes_per_s, 10e6);
  note_migration("web", "b", 70e6, 0, kNow - 50);
  EXPECT_EQ(costs_.known(kNow).link->bytes_per_s, 70e6);
}

TEST_F(MoveCostsTest, AGuestThatWritesMuchIsDearerToMove) {
  note_migration("idle", "b", 100e6, 0, kNow);
  note_migration("busy", "b", 100e6, 300e6, kNow);
  EXPECT_GT(cost("busy").bytes, 1.1 * cost("idle").bytes);
  EXPECT_EQ(cost("unknown").bytes, cost("idle").bytes);
  note_migration("busy", "b", 100e6, 0, kNow);  // it does so no more
  EXPECT_EQ(cost("busy").bytes, cost("idle").bytes);
}

TEST_F(MoveCostsTest, LinksAreDueWhenTheyAreOldOrUnknown) {
  EXPECT_THAT(costs_.due({"b", "c"}, kNow), ElementsAre("b", "c"));
  costs_.note("b", LinkFigures{10e6, {}}, kNow);
  costs_.note("c", std::nullopt, kNow);  // it does not answer: not asked at once again
  EXPECT_THAT(costs_.due({"b", "c"}, kNow + 10), IsEmpty());
  EXPECT_THAT(costs_.due({"b", "c"}, kNow + MoveCosts::kLinkFresh_s), ElementsAre("b", "c"));
}

}  // namespace
}  // namespace forerun::daemon
