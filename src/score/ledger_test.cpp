#include "score/ledger.h"

#include <gtest/gtest.h>

namespace forerun::score {
namespace {

Record record(uint8_t model, uint64_t block, Outcome outcome) {
  return {.block = block, .bytes = 100, .probability = 0.5f, .model = model, .outcome = outcome};
}

TEST(Ledger, CountsOutcomesPerModelAndInAll) {
  Ledger ledger({}, {"replay", "stride"});
  for (int i = 0; i < 5; ++i) ledger.on_issued(0, 100);
  ledger.on_issued(1, 100);
  ledger.on_outcome(record(0, 1, Outcome::kHit));
  ledger.on_outcome(record(0, 2, Outcome::kLate), 3ms);
  ledger.on_outcome(record(0, 3, Outcome::kWasted));
  ledger.on_outcome(record(0, 4, Outcome::kCancelled));
  const ModelTally& replay = ledger.models()[0];
  EXPECT_EQ(replay.hit, (Tally{1, 100}));
  EXPECT_EQ(replay.late, (Tally{1, 100}));
  EXPECT_EQ(replay.wasted, (Tally{1, 100}));
  EXPECT_EQ(replay.cancelled, (Tally{1, 100}));
  EXPECT_EQ(replay.undecided(), (Tally{1, 100}));
  EXPECT_EQ(replay.waited, 3ms);
  EXPECT_DOUBLE_EQ(replay.accuracy(), 2.0 / 3.0);
  EXPECT_EQ(ledger.total().issued, (Tally{6, 600}));
  EXPECT_EQ(ledger.total().undecided(), (Tally{2, 200}));
}

TEST(Ledger, KeepsTheLastRecordsOnly) {
  Ledger ledger({.models_max = 4, .records_max = 3}, {"replay"});
  for (uint64_t block = 0; block < 5; ++block) ledger.on_outcome(record(0, block, Outcome::kHit));
  const auto recent = ledger.recent();
  ASSERT_EQ(recent.size(), 3u);
  EXPECT_EQ(recent[0].block, 2u);
  EXPECT_EQ(recent[2].block, 4u);
}

TEST(Ledger, PutsModelsOverTheLimitTogether) {
  Ledger ledger({.models_max = 2, .records_max = 3}, {"a", "b", "c"});
  ledger.on_issued(1, 10);
  ledger.on_issued(2, 10);
  ledger.on_issued(200, 10);
  ASSERT_EQ(ledger.models().size(), 2u);
  EXPECT_EQ(ledger.models()[1].model, "others");
  EXPECT_EQ(ledger.models()[1].issued, (Tally{3, 30}));
}

TEST(Ledger, MoreModelsJoinAndNothingIsLost) {
  Ledger ledger({.models_max = 4, .records_max = 3}, {});
  EXPECT_TRUE(ledger.models().empty());
  EXPECT_EQ(ledger.add_models({"replay", "stride"}), 0);
  ledger.on_issued(1, 10);
  EXPECT_EQ(ledger.add_models({"stride", "rnn"}), 2);
  ledger.on_issued(2, 20);
  ASSERT_EQ(ledger.models().size(), 4u);
  EXPECT_EQ(ledger.models()[1].issued, (Tally{1, 10}));
  EXPECT_EQ(ledger.models()[2].issued, (Tally{1, 20}));
  EXPECT_EQ(ledger.add_models({"leap"}), 3);  // no room: with the last
  EXPECT_EQ(ledger.models()[3].model, "others");
}

}  // namespace
}  // namespace forerun::score
