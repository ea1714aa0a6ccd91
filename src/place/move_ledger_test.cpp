#include "place/move_ledger.h"

#include <gmock/gmock.h>

namespace forerun::place {
namespace {

using testing::HasSubstr;

constexpr int64_t kNow = 1'790'000'000;

// Two hosts of 2 cores, a VM that moved from a to b and asks for 1, and another on a.
FleetSnapshot moved_fleet(float stays) {
  FleetSnapshot fleet;
  fleet.tick_s = 60;
  fleet.horizon_s = 600;
  for (const char* name : {"a", "b"}) {
    SnapshotHost host;
    host.name = name;
    host.cores = 2;
    fleet.hosts.push_back(host);
  }
  SnapshotVm moved, other;
  moved.name = "moved";
  moved.host = "b";
  moved.demand.assign(30, 1);
  other.name = "other";
  other.host = "a";
  other.demand.assign(30, stays);
  fleet.vms = {moved, other};
  return fleet;
}

MoveRecord record() {
  MoveRecord record;
  record.vm = "moved";
  record.from = "a";
  record.to = "b";
  record.reason = "relief";
  record.decided_at = kNow - 700;
  record.ended_at = kNow - 690;
  record.state = MoveState::kDone;
  record.horizon_s = 600;
  return record;
}

TEST(MoveScore, ComparesWithWhatWouldHaveBeen) {
  MoveRecord scored = record();
  ASSERT_TRUE(score(moved_fleet(1.5F), kNow, scored));
  EXPECT_DOUBLE_EQ(scored.unmet_with, 0);
  EXPECT_NEAR(scored.unmet_without, 0.5 * 600, 1e-6);
  EXPECT_THAT(verdict_of(scored), HasSubstr("avoided 300 core seconds"));
}

TEST(MoveScore, SaysThatItWasNeedless) {
  MoveRecord scored = record();
  ASSERT_TRUE(score(moved_fleet(0.5F), kNow, scored));
  EXPECT_THAT(verdict_of(scored), HasSubstr("needless"));
}

TEST(MoveScore, SaysThatItDidHarm) {
  FleetSnapshot fleet = moved_fleet(0.5F);
  fleet.hosts[1].cores = 0.5;
  MoveRecord scored = record();
  ASSERT_TRUE(score(fleet, kNow, scored));
  EXPECT_THAT(verdict_of(scored), HasSubstr("did harm: 300 core seconds more"));
}

TEST(MoveLedger, ScoresOnceTheHorizonHasPassed) {
  MoveLedger ledger;
  ledger.add(record());
  EXPECT_FALSE(ledger.score_due(moved_fleet(1.5F), kNow - 200));
  EXPECT_TRUE(ledger.score_due(moved_fleet(1.5F), kNow));
  EXPECT_FALSE(ledger.score_due(moved_fleet(1.5F), kNow));
  EXPECT_TRUE(ledger.records()[0].is_scored);
}

TEST(MoveLedger, TellsWhenVmsWereMoved) {
  MoveLedger ledger;
  ledger.add(record());
  FleetSnapshot fleet = moved_fleet(1);
  ledger.tell(fleet, kNow);
  EXPECT_THAT(fleet.vms[0].moved_before, testing::ElementsAre(11U));
  EXPECT_TRUE(fleet.vms[1].moved_before.empty());
  EXPECT_EQ(ledger.count_since(kNow - 3600), 1U);
  EXPECT_EQ(ledger.count_since(kNow - 60), 0U);
}

TEST(MoveLedger, IsKeptBoundedAndRefusesDamage) {
  MoveLedger ledger;
  for (size_t i = 0; i < MoveLedger::kKeptMax + 5; ++i) ledger.add(record());
  EXPECT_EQ(ledger.records().size(), MoveLedger::kKeptMax);
  const auto again = MoveLedger::parse(ledger.encode());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->records(), ledger.records());
  for (const char* text : {"", "[]", "{}", R"({"next":1,"moves":[{}]})"})
    EXPECT_EQ(MoveLedger::parse(text).error().code, ErrorCode::kCorrupt) << text;
}

TEST(MoveLedger, LeavesOlderMovesOutBeyondALimit) {
  MoveLedger ledger;
  for (int i = 0; i < 10; ++i) ledger.add(record());
  const size_t whole = ledger.encode().size();
  const std::string half = ledger.encode(whole / 2);
  EXPECT_LE(half.size(), whole / 2);
  const auto read = MoveLedger::parse(half);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_GE(read->records().size(), 4U);
  EXPECT_EQ(read->records().back(), ledger.records().back());
  EXPECT_TRUE(MoveLedger::parse(ledger.encode(1))->records().empty());
  EXPECT_EQ(ledger.encode(whole + 100), ledger.encode());
}

}  // namespace
}  // namespace forerun::place
