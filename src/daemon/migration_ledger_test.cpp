#include "daemon/migration_ledger.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "core/bytes.h"
#include "os/file.h"

namespace forerun::daemon {
namespace {

using testing::HasSubstr;

class MigrationLedgerTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/forerun-migrations-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path() const { return folder_ + "/migrations.json"; }
  // A forecast by the model, with what was learned so far.
  static api::MigrationInfo told(const std::string& id, const migrate::PlanScores& scores) {
    const migrate::PlanInput input{.pages = 65'536,
                                   .written_pages = 6'000,
                                   .dirty_pages_per_s = 50'000,
                                   .is_profiled = true,
                                   .link_bytes_per_s = 25e6,
                                   .round_trip = 4ms};
    const auto plan = migrate::plan_migration(input, {}, scores);
    api::MigrationInfo info{id, 1'790'000'000, "running", "", false, {}, {}};
    info.forecast.vm = "m";
    info.forecast.to = "b";
    info.forecast.mode = "hybrid";
    info.forecast.reason = "it is \"best\"";
    for (const migrate::ModeEstimate& mode : plan->modes)
      info.forecast.modes.push_back(info_of(mode));
    info.forecast.memory_bytes = 1 << 28;
    info.forecast.link_bytes_per_s = 25e6;
    return info;
  }
  std::string folder_;
};

TEST_F(MigrationLedgerTest, WhatCameOfOneCorrectsTheNext) {
  const auto ledger = MigrationLedger::open(path());
  const double first = told("m-0", ledger->scores()).forecast.modes[2].total_s.expected;
  for (int i = 0; i < 8; ++i) {
    ledger->begin(told(fmt::format("m-{}", i), ledger->scores()));
    ledger->end(fmt::format("m-{}", i), {1.6 * first, 0.05, 0.1, 3e8}, true, "moved");
  }
  const auto next = told("m-x", ledger->scores()).forecast.modes[2].total_s;
  EXPECT_NEAR(next.expected, 1.6 * first, 0.05 * first);
  EXPECT_LT(next.high, 1.9 * first);
  const api::MigrationReport report = ledger->report();
  EXPECT_EQ(report.migrations.size(), 8u);
  EXPECT_EQ(report.migrations.front().id, "m-7");
  EXPECT_EQ(report.migrations.front().actual->downtime_s, 0.05);
  ASSERT_EQ(report.scores.size(), 4u);
  EXPECT_EQ(report.scores[0].mode, "hybrid");
  EXPECT_NEAR(report.scores[0].factor, 1.6, 0.05);
}

TEST_F(MigrationLedgerTest, OutlivesTheDaemon) {
  api::MigrationReport before;
  {
    const auto ledger = MigrationLedger::open(path());
    ledger->begin(told("m-1", ledger->scores()));
    ledger->end("m-1", {12.5, 0.05, 0.1, 3e8}, true, "runs on b");
    ledger->begin(told("m-2", ledger->scores()));
    before = ledger->report();
  }
  const auto ledger = MigrationLedger::open(path());
  api::MigrationReport after = ledger->report();
  EXPECT_EQ(after.migrations[0].state, "failed");
  EXPECT_THAT(after.migrations[0].detail, HasSubstr("the daemon ended amid it"));
  ASSERT_EQ(after.migrations.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const api::MigrationInfo &one = after.migrations[i], &other = before.migrations[i];
    EXPECT_EQ(one.id, other.id);
    EXPECT_EQ(one.began_unix_seconds, 1'790'000'000);
    EXPECT_EQ(one.forecast.reason, other.forecast.reason);
    EXPECT_EQ(one.forecast.memory_bytes, other.forecast.memory_bytes);
    ASSERT_EQ(one.forecast.modes.size(), 3u);
    // JSON's numbers come back but for their last bit.
    EXPECT_DOUBLE_EQ(one.forecast.modes[2].bytes.high, other.forecast.modes[2].bytes.high);
    EXPECT_EQ(one.forecast.modes[2].why_not, other.forecast.modes[2].why_not);
  }
  EXPECT_EQ(after.migrations[1].state, "moved");
  EXPECT_EQ(after.migrations[1].detail, "runs on b");
  ASSERT_TRUE(after.migrations[1].actual);
  EXPECT_DOUBLE_EQ(after.migrations[1].actual->bytes, 3e8);
  ASSERT_EQ(after.scores.size(), before.scores.size());
  EXPECT_NEAR(after.scores[0].factor, before.scores[0].factor, 1e-9);
  EXPECT_DOUBLE_EQ(after.scores[0].spread, before.scores[0].spread);
}

TEST_F(MigrationLedgerTest, WhatIsNotTypicalOrFailedTeachesNothing) {
  const auto ledger = MigrationLedger::open(path());
  ledger->begin(told("m-1", ledger->scores()));
  ledger->end("m-1", {900, 0.05, 300, 3e8}, false, "the link was cut");
  ledger->begin(told("m-2", ledger->scores()));
  ledger->fail("m-2", "host b does not answer");
  const api::MigrationReport report = ledger->report();
  EXPECT_TRUE(report.scores.empty());
  EXPECT_EQ(report.migrations[0].state, "failed");
  EXPECT_FALSE(report.migrations[0].actual);
  EXPECT_EQ(report.migrations[1].actual->total_s, 900);
}

TEST_F(MigrationLedgerTest, KeepsTheNewest) {
  const auto ledger = MigrationLedger::open(path(), 2);
  for (int i = 0; i < 5; ++i) ledger->begin(told(fmt::format("m-{}", i), {}));
  EXPECT_EQ(ledger->report().migrations.size(), 2u);
  EXPECT_EQ(ledger->report().migrations.back().id, "m-3");
  ledger->end("m-0", {}, true, "");  // is known no more
}

TEST_F(MigrationLedgerTest, ADamagedFileIsSetAside) {
  {
    const auto ledger = MigrationLedger::open(path());
    ledger->begin(told("m-1", {}));
  }
  const Buffer good = *os::read_file(path(), 1 << 20);
  const std::string text(as_text(good));
  for (const std::string& bad :
       {std::string("{"), std::string("[]"), std::string("{}"), text.substr(0, text.size() / 2),
        std::string(R"({"items":[{"id":3}],"scores":[]})"),
        std::string(R"({"items":[],"scores":[{"mode":"hybrid","figure":"total_s","count":1,)"
                    R"("held":1,"factor":-1,"spread":0.1}]})")}) {
    ASSERT_TRUE(os::write_file_atomic(path(), as_bytes(bad)));
    const auto ledger = MigrationLedger::open(path());
    EXPECT_TRUE(ledger->report().migrations.empty()) << bad;
    EXPECT_EQ(as_text(*os::read_file(path() + ".damaged", 1 << 20)), bad);
  }
}

TEST_F(MigrationLedgerTest, EstimatesComeBackAsTheyWereTold) {
  const auto plan =
      migrate::plan_migration({.pages = 100, .is_profiled = true, .link_bytes_per_s = 1e6}, {}, {});
  for (const migrate::ModeEstimate& mode : plan->modes) {
    const auto back = estimate_of(info_of(mode));
    ASSERT_TRUE(back);
    EXPECT_EQ(back->mode, mode.mode);
    EXPECT_EQ(back->figures, mode.figures);
  }
  EXPECT_FALSE(estimate_of({.mode = "sideways"}));
}

}  // namespace
}  // namespace forerun::daemon
