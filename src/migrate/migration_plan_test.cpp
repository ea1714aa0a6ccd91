#include "migrate/migration_plan.h"

#include <gmock/gmock.h>

#include <cmath>

namespace forerun::migrate {
namespace {

using testing::HasSubstr;

// 256 MiB of which 200 are filled, 24 of them written all the time, over 200 Mbit/s: the guest that
// bench/migrate moves.
PlanInput usual() {
  return {.pages = 65'538,
          .zero_pages = 14'000,
          .written_pages = 6'144,
          .dirty_pages_per_s = 60'000,
          .packed_ratio = 1,
          .delta_ratio = 0.01,
          .is_profiled = true,
          .link_bytes_per_s = 25e6,
          .round_trip = 4ms};
}

MigrationPlan planned(const PlanInput& input, const PlanPolicy& policy = {},
                      const PlanScores& scores = {}) {
  auto plan = plan_migration(input, policy, scores);
  EXPECT_TRUE(plan);
  return *plan;
}

const ModeEstimate& of(const MigrationPlan& plan, MigrationMode mode) {
  return plan.modes[static_cast<size_t>(mode)];
}

TEST(MigrationPlan, AnIdleGuestGoesByPrecopy) {
  PlanInput input = usual();
  input.written_pages = 20;
  input.dirty_pages_per_s = 10;
  const MigrationPlan plan = planned(input);
  EXPECT_EQ(plan.mode, MigrationMode::kPrecopy);
  EXPECT_LT(plan.chosen()[PlanFigure::kDowntime].expected, 0.1);
  EXPECT_EQ(plan.chosen()[PlanFigure::kBlocked].expected, 0);
  EXPECT_NEAR(plan.chosen()[PlanFigure::kTotal].expected, 51'538 * 4112 / 25e6, 0.2);
}

TEST(MigrationPlan, ShortDifferencesLetABusyGuestGoByPrecopy) {
  PlanInput input = usual();
  EXPECT_EQ(planned(input).mode, MigrationMode::kPrecopy);
  // Had pages to be sent whole, pre-copy would stop it for a second.
  input.delta_ratio = 1;
  const MigrationPlan plan = planned(input);
  EXPECT_EQ(plan.mode, MigrationMode::kHybrid);
  EXPECT_GT(of(plan, MigrationMode::kPrecopy)[PlanFigure::kDowntime].expected, 0.9);
  EXPECT_THAT(plan.reason, HasSubstr("pre-copy does not: 1.0"));
  EXPECT_EQ(hot_pages_of(input, {}, plan.mode), HotPages::kHold);
}

TEST(MigrationPlan, APrecopyHoldsBackWhatTheDowntimeHasRoomFor) {
  PlanInput input = usual();
  EXPECT_EQ(hot_pages_of(input, {.downtime_max = 3s}, MigrationMode::kPrecopy), HotPages::kKeep);
  input.delta_ratio = 1;  // 6144 pages take a second
  EXPECT_EQ(hot_pages_of(input, {.downtime_max = 3s}, MigrationMode::kPrecopy), HotPages::kHold);
  EXPECT_EQ(hot_pages_of(input, {.downtime_max = 1500ms}, MigrationMode::kPrecopy),
            HotPages::kKeep);
  input.is_profiled = false;  // which they are is not known
  EXPECT_EQ(hot_pages_of(input, {.downtime_max = 3s}, MigrationMode::kPrecopy), HotPages::kKeep);
  EXPECT_EQ(hot_pages_of(input, {.downtime_max = 3s}, MigrationMode::kHybrid), HotPages::kKeep);
  EXPECT_EQ(hot_pages_of(input, {.downtime_max = 3s}, MigrationMode::kPostcopy), HotPages::kSend);
}

TEST(MigrationPlan, APrecopyEndsAsSoonAsTheRestFitsTheDowntime) {
  PlanInput input = usual();
  input.delta_ratio = 1;
  input.dirty_pages_per_s = 3'000;  // of a round of 8.5 s all are written; of one of 1 s, 2300
  const MigrationPlan strict = planned(input, {.downtime_max = 600ms});
  const MigrationPlan lax = planned(input, {.downtime_max = 2s});
  EXPECT_EQ(lax.mode, MigrationMode::kPrecopy);
  EXPECT_EQ(strict.mode, MigrationMode::kPrecopy);
  EXPECT_GT(lax.chosen()[PlanFigure::kDowntime].expected, 0.9);
  EXPECT_LT(strict.chosen()[PlanFigure::kDowntime].expected, 0.6);
  EXPECT_GT(strict.chosen()[PlanFigure::kBytes].expected,
            lax.chosen()[PlanFigure::kBytes].expected);
}

TEST(MigrationPlan, AShortDowntimeSpeaksForHybrid) {
  const MigrationPlan plan = planned(usual(), {.downtime_max = 25ms});
  EXPECT_EQ(plan.mode, MigrationMode::kHybrid);
  EXPECT_EQ(hot_pages_of(usual(), {}, plan.mode), HotPages::kKeep);
  // Differences, and a fault's wait.
  EXPECT_LT(plan.chosen()[PlanFigure::kBlocked].expected, 0.1);
}

TEST(MigrationPlan, AHostThatMustBeLeftSpeaksForPostcopy) {
  const MigrationPlan plan = planned(usual(), {.switch_within = 2s});
  EXPECT_EQ(plan.mode, MigrationMode::kPostcopy);
  EXPECT_LT(plan.chosen().to_switch_s, 2);
  // The hot set's transfer, and the faults of what nobody foresaw.
  EXPECT_NEAR(plan.chosen()[PlanFigure::kBlocked].expected, 1.0 + 60 * 0.024, 0.1);
  PlanInput reads_more = usual();
  reads_more.referenced_pages = 20'000;
  EXPECT_GT(of(planned(reads_more), MigrationMode::kPostcopy)[PlanFigure::kBlocked].expected,
            1.5 * plan.chosen()[PlanFigure::kBlocked].expected);
}

TEST(MigrationPlan, WhereNothingKeepsThePolicyTheLeastWaitingIsChosenAndSaid) {
  PlanInput input = usual();
  input.delta_ratio = 1;
  const MigrationPlan plan = planned(input, {.downtime_max = 1ms});
  EXPECT_THAT(plan.reason, HasSubstr("no way keeps the policy"));
  for (const ModeEstimate& mode : plan.modes) EXPECT_FALSE(mode.fits_policy);
}

TEST(MigrationPlan, GuessesHaveWiderRangesThanWhatWasSeen) {
  PlanInput guessed = usual();
  guessed.is_profiled = false;
  const Estimate seen = planned(usual()).modes[0][PlanFigure::kTotal];
  const Estimate thought = planned(guessed).modes[0][PlanFigure::kTotal];
  EXPECT_GT(thought.high - thought.low, seen.high - seen.low);
  EXPECT_TRUE(seen.holds(seen.expected));
}

TEST(MigrationPlan, EstimatesFollowWhatCameOfThem) {
  PlanScores scores;
  const double first = planned(usual()).modes[2][PlanFigure::kTotal].expected;
  for (int i = 0; i < 30; ++i) {
    const ModeEstimate hybrid = planned(usual(), {}, scores).modes[2];
    const double bytes = hybrid[PlanFigure::kBytes].expected;
    scores.learn(hybrid, {1.5 * first, 0.02, 0.05, bytes});
  }
  const MigrationPlan plan = planned(usual(), {}, scores);
  EXPECT_NEAR(plan.modes[2][PlanFigure::kTotal].expected, 1.5 * first, 0.02 * first);
  EXPECT_LT(plan.modes[2][PlanFigure::kTotal].high, 1.7 * first);
  EXPECT_NEAR(plan.modes[0][PlanFigure::kTotal].expected, first, 0.1 * first);
  const PlanScores::Score& score = scores.of(MigrationMode::kHybrid, PlanFigure::kTotal);
  EXPECT_EQ(score.count, 30u);
  EXPECT_GT(score.held, 20u);
}

// Ranges are worth what share of what comes is within them, whatever the model is off by.
TEST(MigrationPlan, FourOfFiveFiguresFallWithinTheirRanges) {
  PlanScores scores;
  uint64_t seed = 7, held = 0, count = 0;
  const auto noise = [&seed] {  // about normal, deviation 1: the sum of twelve
    double sum = -6;
    for (int i = 0; i < 12; ++i) {
      seed = seed * 6364136223846793005ull + 1442695040888963407ull;
      sum += static_cast<double>(seed >> 11) / 9007199254740992.0;
    }
    return sum;
  };
  const ModeEstimate plain = planned(usual()).modes[2];
  for (int i = 0; i < 600; ++i) {
    const ModeEstimate told = planned(usual(), {}, scores).modes[2];
    std::array<double, kPlanFigures> actual{};
    for (size_t figure = 0; figure < kPlanFigures; ++figure) {
      actual[figure] = 1.4 * plain.figures[figure].expected * std::exp(0.25 * noise());
      if (i < 20) continue;
      ++count;
      held += told.figures[figure].holds(actual[figure]) ? 1 : 0;
    }
    scores.learn(told, actual);
  }
  const double share = static_cast<double>(held) / static_cast<double>(count);
  EXPECT_GT(share, 0.75);
  EXPECT_LT(share, 0.97);
}

TEST(MigrationPlan, TellsAProfileApart) {
  MemoryProfile profile{.rounds = {{1000, 1s}, {200, 100ms}, {100, 50ms}},
                        .pages = 1000,
                        .zero_pages = 10,
                        .packed_ratio = 0.5,
                        .delta_ratio = 0.1,
                        .delta_samples = 50};
  profile.blocks.push_back({{"pc.ram", 1000 * kPageBytes}, std::vector<uint8_t>(1000, 0)});
  for (size_t page = 0; page < 200; ++page) profile.blocks[0].rounds_written[page] = 1;
  const PlanInput input = plan_input(profile, 1e6, 10ms, 300 * kPageBytes);
  EXPECT_EQ(input.written_pages, 200u);
  EXPECT_EQ(input.referenced_pages, 300u);
  EXPECT_NEAR(input.dirty_pages_per_s, 1000, 1);
  EXPECT_TRUE(input.is_profiled);
  // QEMU was done amid the second round: what came of it is all that is written.
  profile.rounds.resize(1);
  EXPECT_NEAR(plan_input(profile, 1e6, 10ms).dirty_pages_per_s, 200, 1);
  EXPECT_TRUE(plan_input(profile, 1e6, 10ms).is_profiled);
  profile.rounds.clear();
  EXPECT_FALSE(plan_input(profile, 1e6, 10ms).is_profiled);
}

TEST(MigrationPlan, RefusesWhatIsNotKnown) {
  EXPECT_FALSE(plan_migration({.link_bytes_per_s = 1e6}, {}, {}));
  EXPECT_FALSE(plan_migration({.pages = 10}, {}, {}));
}

TEST(MigrationPlan, AProfileIsWorthItWhereNotAllPagesAreKept) {
  EXPECT_FALSE(needs_profile(60'000, 65'536, MigrationMode::kHybrid));
  EXPECT_TRUE(needs_profile(70'000, 65'536, MigrationMode::kHybrid));
  EXPECT_TRUE(needs_profile(10, 65'536, MigrationMode::kPostcopy));
  EXPECT_FALSE(needs_profile(70'000, 65'536, MigrationMode::kPrecopy));
}

}  // namespace
}  // namespace forerun::migrate
