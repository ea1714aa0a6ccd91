#include "forecast/launch_replay.h"

#include <gmock/gmock.h>

#include <set>

#include "core/bytes.h"
#include "core/rng.h"

namespace forerun::forecast {
namespace {

using ::testing::HasSubstr;

constexpr LaunchShape kShape{.hosts = 4, .manifests = 3, .tick_s = 3600, .window_ticks = 2};
using Launches = std::vector<Launched>;

trace::LaunchBin bin(uint64_t second, size_t batches) {
  trace::LaunchBin bin{.second = second};
  for (size_t i = 0; i < batches; ++i) bin.batches.push_back({{{0, 2}}});
  return bin;
}

Launches at_random(Rng& rng) {
  Launches launches;
  for (uint32_t h = 0; h < kShape.hosts; ++h)
    if (rng.chance(0.4)) launches.push_back({h, static_cast<uint32_t>(rng.below(3)), 1, 3});
  return launches;
}

TEST(LaunchEngine, RefusesShapesOverItsLimitsAndEmptyOnes) {
  EXPECT_EQ(LaunchEngine::make({.hosts = 0, .manifests = 1}, {}).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(LaunchEngine::make({.hosts = 5000, .manifests = 1}, {}).error().code,
            ErrorCode::kTooLarge);
  EXPECT_EQ(LaunchEngine::make({.hosts = 4096, .manifests = 1024}, {}).error().code,
            ErrorCode::kTooLarge);
  EXPECT_EQ(LaunchEngine::make(kShape, {.pieces = {"oracle"}}).error().code, ErrorCode::kNotFound);
}

TEST(LaunchEngine, ForeseesTheSameWhateverHappensLater) {
  auto one = *LaunchEngine::make(kShape, {}), other = *LaunchEngine::make(kShape, {});
  Rng rng(11);
  for (int64_t tick = 0; tick < 60; ++tick) {
    const Launches launches = at_random(rng);
    EXPECT_EQ(one->foresee(tick).probability, other->foresee(tick).probability);
    one->learn(tick, launches);
    other->learn(tick, launches);
  }
  const auto before = one->foresee(60);
  const auto& same = other->foresee(60);
  EXPECT_EQ(before.probability, same.probability);
  EXPECT_EQ(before.expected, same.expected);
  one->learn(60, Launches{{0, 0, 9, 90}});
  other->learn(60, Launches{});
  EXPECT_NE(one->foresee(61).probability, other->foresee(61).probability);
}

TEST(LaunchEngine, RanksTheLikeliestFirstWithATimeWithinTheWindow) {
  auto engine = *LaunchEngine::make(kShape, {});
  for (int64_t tick = 0; tick < 100; ++tick) {
    engine->foresee(tick);
    Launches launches = {{1, 2, 3, 6}};
    if (tick % 4 == 0) launches.push_back({2, 0, 1, 1});
    engine->learn(tick, launches);
  }
  engine->foresee(100);
  const auto best = engine->ranked(100);
  ASSERT_EQ(best.size(), kShape.cells());
  EXPECT_EQ(best[0].host, 1U);
  EXPECT_EQ(best[0].manifest, 2U);
  EXPECT_GT(best[0].probability, 0.8);
  EXPECT_NEAR(best[0].expected_launches, 12, 3);
  for (size_t i = 1; i < best.size(); ++i) {
    EXPECT_LE(best[i].probability, best[i - 1].probability);
    EXPECT_GT(best[i].due_s, 0);
    EXPECT_LE(best[i].due_s, 3600.5);  // the middle of the window, at the latest
  }
}

TEST(LaunchEngine, CountsEveryPredictionOnceItsWindowIsOver) {
  auto engine = *LaunchEngine::make(kShape, {});
  Rng rng(2);
  for (int64_t tick = 0; tick < 50; ++tick) {
    engine->foresee(tick);
    engine->learn(tick, at_random(rng));
  }
  EXPECT_EQ(engine->reliability().count(), 49U * kShape.cells());  // the last is not over
  engine->foresee(200);  // after a time that nobody observed
  engine->learn(200, Launches{});
  EXPECT_EQ(engine->reliability().count(), 49U * kShape.cells());
  engine->foresee(201);
  engine->learn(201, Launches{});
  EXPECT_EQ(engine->reliability().count(), 50U * kShape.cells());
}

TEST(LaunchEngine, IsCalibratedOnLaunchesThatComeAtRandom) {
  auto engine = *LaunchEngine::make(kShape, {});
  Rng rng(4);
  for (int64_t tick = 0; tick < 600; ++tick) {
    if (tick == 200) engine->reset_scores();
    engine->foresee(tick);
    engine->learn(tick, at_random(rng));
  }
  EXPECT_LT(engine->reliability().gap(), 0.03);
  EXPECT_EQ(engine->scores().size(), 7U);
  EXPECT_EQ(engine->scores().back().name, "mix");
}

TEST(LaunchDealer, DealsTheSameBatchesTheSameWay) {
  for (const DealBy by : {DealBy::kTrace, DealBy::kBin}) {
    LaunchDealer one(50, by, 1), other(50, by, 1);
    for (int i = 0; i < 5; ++i) {
      const auto a = one.deal(bin(300, 20)), b = other.deal(bin(300, 20));
      ASSERT_EQ(a.size(), b.size());
      for (size_t k = 0; k < a.size(); ++k) EXPECT_EQ(a[k].host, b[k].host);
    }
  }
}

TEST(LaunchDealer, ByPositionInTheBinAHostKeepsItsPlaces) {
  const auto hosts_of = [](const Launches& launches) {
    std::set<uint32_t> hosts;
    for (const Launched& one : launches) hosts.insert(one.host);
    return hosts;
  };
  LaunchDealer by_bin(50, DealBy::kBin, 1), by_trace(50, DealBy::kTrace, 1);
  EXPECT_EQ(hosts_of(by_bin.deal(bin(300, 5))), hosts_of(by_bin.deal(bin(600, 5))));
  EXPECT_NE(hosts_of(by_trace.deal(bin(300, 5))), hosts_of(by_trace.deal(bin(600, 5))));
}

TEST(LaunchDealer, AddsUpBatchesOfOneManifestOnOneHost) {
  LaunchDealer dealer(1, DealBy::kTrace, 1);
  const auto launched = dealer.deal(bin(300, 3));
  ASSERT_EQ(launched.size(), 1U);
  EXPECT_EQ(launched[0].batches, 3U);
  EXPECT_EQ(launched[0].launches, 6U);
}

TEST(LaunchTicks, FillsShortSilencesAndLeavesLongOnesOut) {
  LaunchTicks ticks(300, LaunchDealer(1, DealBy::kTrace, 1));
  ASSERT_TRUE(ticks.add(bin(300, 1), false));
  ASSERT_TRUE(ticks.add(bin(1200, 1), false));  // two quiet ticks before
  ASSERT_TRUE(ticks.add(bin(90000, 1), true));  // nobody looked in between
  std::vector<int64_t> numbers;
  for (const LaunchTick& tick : ticks.ticks()) numbers.push_back(tick.tick);
  EXPECT_EQ(numbers, (std::vector<int64_t>{0, 1, 2, 3, 299}));
  EXPECT_TRUE(ticks.ticks()[1].launched.empty());
  EXPECT_TRUE(ticks.ticks().back().counted);
}

TEST(LaunchTicks, PutsFinerBinsTogether) {
  LaunchTicks ticks(300, LaunchDealer(1, DealBy::kTrace, 1));
  ASSERT_TRUE(ticks.add(bin(60, 1), false));
  ASSERT_TRUE(ticks.add(bin(300, 2), false));
  ASSERT_EQ(ticks.ticks().size(), 1U);
  EXPECT_EQ(ticks.ticks()[0].launched[0].batches, 3U);
}

TEST(LaunchTicks, RefusesFilesInTheWrongOrder) {
  LaunchTicks ticks(300, LaunchDealer(1, DealBy::kTrace, 1));
  ASSERT_TRUE(ticks.add(bin(600, 1), false));
  EXPECT_THAT(ticks.add(bin(599, 1), true).error().message, HasSubstr("does not come after 600"));
}

TEST(SizeByName, IsBetween128MiBAnd1GiBAndWhole) {
  std::set<uint64_t> sizes;
  for (char c = 'a'; c <= 'z'; ++c) {
    const uint64_t size = size_by_name(std::string_view(&c, 1));
    EXPECT_GE(size, 128 * kMiB);
    EXPECT_LE(size, kGiB);
    EXPECT_EQ(size % kMiB, 0U);
    sizes.insert(size);
  }
  EXPECT_GT(sizes.size(), 20U);
}

LaunchReplay::Options options_of(uint64_t budget) {
  return {.sizes = std::vector<uint64_t>(kShape.manifests, 100), .budgets = {budget}};
}

const MethodResult& method(const LaunchReplayResult& result, std::string_view name) {
  const auto found = std::find_if(result.methods.begin(), result.methods.end(),
                                  [&](const MethodResult& one) { return one.method == name; });
  EXPECT_NE(found, result.methods.end()) << name;
  return *found;
}

TEST(LaunchReplay, RefusesWrongSizesAndBudgets) {
  auto options = options_of(10);
  options.sizes.pop_back();
  EXPECT_EQ(LaunchReplay::make(kShape, options).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(LaunchReplay::make(kShape, options_of(0)).error().code, ErrorCode::kInvalid);
  options = options_of(10);
  options.sizes[1] = 0;
  EXPECT_EQ(LaunchReplay::make(kShape, options).error().code, ErrorCode::kInvalid);
}

TEST(LaunchReplay, NobodySeesATickBeforeItsLaunchesCount) {
  // Two pasts that are alike, and a last tick that is not: the same is fetched for it.
  auto one = *LaunchReplay::make(kShape, options_of(50));
  auto other = *LaunchReplay::make(kShape, options_of(50));
  Rng rng(8);
  for (int64_t tick = 0; tick < 100; ++tick) {
    const Launches launches = at_random(rng);
    one->feed(tick, launches, tick >= 50);
    other->feed(tick, launches, tick >= 50);
  }
  one->feed(100, Launches{{0, 0, 5, 50}, {3, 2, 5, 50}}, true);
  other->feed(100, Launches{}, true);
  const auto a = one->result(), b = other->result();
  for (size_t i = 0; i < a.methods.size(); ++i) {
    EXPECT_EQ(a.methods[i].prefetches, b.methods[i].prefetches) << a.methods[i].method;
    EXPECT_EQ(a.methods[i].spent_bytes, b.methods[i].spent_bytes) << a.methods[i].method;
  }
}

TEST(LaunchReplay, AManifestThatWasNeverLaunchedIsReadyForNobody) {
  auto replay = *LaunchReplay::make(kShape, options_of(100000));
  for (int64_t tick = 0; tick < 100; ++tick) replay->feed(tick, Launches{{0, 0, 1, 1}}, false);
  replay->feed(100, Launches{{1, 1, 1, 7}}, true);
  const auto result = replay->result();
  EXPECT_EQ(result.launches, 7U);
  for (const MethodResult& one : result.methods) EXPECT_EQ(one.launches_ready, 0U) << one.method;
}

TEST(LaunchReplay, NobodySpendsMoreThanTheSameGrant) {
  auto replay = *LaunchReplay::make(kShape, options_of(30));
  Rng rng(6);
  for (int64_t tick = 0; tick < 300; ++tick) replay->feed(tick, at_random(rng), tick >= 100);
  const auto result = replay->result();
  EXPECT_EQ(result.ticks_learned, 100U);
  EXPECT_EQ(result.ticks_counted, 200U);
  for (const MethodResult& one : result.methods) {
    EXPECT_EQ(one.granted_bytes, 30U * 4 / 2 * 200) << one.method;
    EXPECT_LE(one.spent_bytes, one.granted_bytes) << one.method;
    EXPECT_GT(one.spent_bytes, one.granted_bytes * 8 / 10) << one.method;
    EXPECT_EQ(one.spent_bytes, one.prefetches * 100) << one.method;
    EXPECT_LE(one.used, one.prefetches) << one.method;
  }
}

TEST(LaunchReplay, ADailyTimerIsForeseenOnItsHost) {
  // Host 2 launches manifest 1 at nine; manifest 0 is launched on the others all the time.
  auto replay = *LaunchReplay::make(kShape, options_of(25));
  for (int64_t tick = 0; tick < 24 * 30; ++tick) {
    Launches launches = {{0, 0, 1, 1}};
    if (tick % 24 == 9) launches.push_back({2, 1, 1, 60});
    replay->feed(tick, launches, tick >= 24 * 20);
  }
  const auto result = replay->result();
  const double engine = static_cast<double>(method(result, LaunchReplay::kEngine).launches_ready);
  EXPECT_GT(engine, 0.8 * static_cast<double>(result.launches));
  for (const std::string_view name : {"last_value", "most_frequent"})
    EXPECT_GE(engine, static_cast<double>(method(result, name).launches_ready)) << name;
}

TEST(LaunchBaselines, RankAsTheirNamesSay) {
  const LaunchShape shape{.hosts = 2, .manifests = 2, .tick_s = 3600, .window_ticks = 1};
  std::vector<double> rank(shape.cells());
  const auto ranked = [&](std::string_view name) {
    auto ranking = *make_launch_ranking(name, shape);
    ranking->learn(0, Launches{{0, 0, 1, 9}});
    ranking->learn(1, Launches{{0, 1, 2, 2}});
    for (int64_t tick = 2; tick < 24; ++tick) ranking->learn(tick, Launches{});
    ranking->rank(24, rank);
    return rank;
  };
  EXPECT_GT(ranked("last_value")[1], rank[0]);
  EXPECT_GT(ranked("most_frequent")[0], rank[1]);
  EXPECT_EQ(rank[2], 0);
  EXPECT_GT(ranked("most_frequent_batches")[1], rank[0]);
  EXPECT_EQ(ranked("most_frequent_fleet")[2], 9);
  EXPECT_GT(ranked("seasonal_naive")[0], 8.9);  // tick 0 was a day before tick 24
  EXPECT_LT(rank[1], 1);
  EXPECT_EQ(make_launch_ranking("oracle", shape).error().code, ErrorCode::kNotFound);
}

}  // namespace
}  // namespace forerun::forecast
