#include "forecast/launch_pieces.h"

#include <gmock/gmock.h>

#include <functional>

#include "core/rng.h"
#include "forecast/network_piece.h"

namespace forerun::forecast {
namespace {

constexpr LaunchShape kShape{.hosts = 4, .manifests = 3, .tick_s = 3600, .window_ticks = 1};
using Launches = std::vector<Launched>;

// Teaches a piece `ticks` ticks and returns what it foresees for the next.
std::vector<float> taught(std::string_view name, int64_t ticks,
                          const std::function<Launches(int64_t)>& launches_of) {
  auto piece = make_launch_piece(name, kShape);
  std::vector<float> probability(kShape.cells());
  for (int64_t tick = 0; tick < ticks; ++tick) {
    (*piece)->foresee(tick, probability);
    (*piece)->learn(tick, launches_of(tick));
  }
  (*piece)->foresee(ticks, probability);
  return probability;
}

TEST(LaunchPieces, AreMadeByName) {
  EXPECT_EQ(launch_piece_names().size(), 6U);
  for (const std::string_view name : launch_piece_names()) {
    auto piece = make_launch_piece(name, kShape);
    ASSERT_TRUE(piece) << name;
    EXPECT_EQ((*piece)->name(), name);
  }
}

TEST(LaunchPieces, RefusesUnknownAndRepeatedNames) {
  EXPECT_EQ(make_launch_piece("oracle", kShape).error().code, ErrorCode::kNotFound);
  const std::vector<std::string> twice = {"burst", "burst"};
  EXPECT_EQ(make_launch_pieces(twice, kShape).error().code, ErrorCode::kInvalid);
}

TEST(LaunchPieces, NoneSaysCertaintyOrNonsenseWithoutAPast) {
  for (const std::string_view name : launch_piece_names())
    for (const float probability : taught(name, 0, [](int64_t) { return Launches{}; })) {
      EXPECT_GE(probability, 0) << name;
      EXPECT_LT(probability, 0.5) << name;
    }
}

TEST(LaunchPieces, AllExpectWhatIsLaunchedEverywhereAtEveryTick) {
  const auto always = [](int64_t) {
    Launches launches;
    for (uint32_t h = 0; h < kShape.hosts; ++h) launches.push_back({h, 1, 2, 5});
    return launches;
  };
  for (const std::string_view name : launch_piece_names()) {
    const auto probability = taught(name, 300, always);
    EXPECT_GT(probability[kShape.cell(2, 1)], 0.7) << name;
    EXPECT_LT(probability[kShape.cell(2, 0)], 0.1) << name;
  }
}

TEST(LaunchPieces, DecayedCountsKnowTheHost) {
  const auto one_host = [](int64_t) { return Launches{{3, 0, 1, 1}}; };
  const auto probability = taught("decayed_counts", 2000, one_host);
  EXPECT_GT(probability[kShape.cell(3, 0)], 0.35);
  EXPECT_GT(probability[kShape.cell(3, 0)], 3 * probability[kShape.cell(0, 0)]);
}

TEST(LaunchPieces, SeasonalKnowsTheHour) {
  const auto mornings = [](int64_t tick) {
    return tick % 24 == 9 ? Launches{{0, 2, 8, 8}} : Launches{};
  };
  EXPECT_GT(taught("seasonal", 24 * 60 + 9, mornings)[kShape.cell(0, 2)],
            3 * taught("seasonal", 24 * 60 + 15, mornings)[kShape.cell(0, 2)]);
}

TEST(LaunchPieces, RecencyLearnsAnInterval) {
  // Every eighth tick: right after a launch the next is far, seven later it is due.
  const auto every_8 = [](int64_t tick) {
    return tick % 8 == 0 ? Launches{{1, 1, 1, 1}} : Launches{};
  };
  const float after = taught("recency", 8 * 100 + 1, every_8)[kShape.cell(1, 1)];
  const float due = taught("recency", 8 * 100, every_8)[kShape.cell(1, 1)];
  EXPECT_LT(after, 0.02);
  EXPECT_GT(due, 0.5);
}

TEST(LaunchPieces, BurstSeesThatBatchesContinue) {
  // Bursts of 20 ticks on one host, then 80 quiet ones.
  const auto bursts = [](int64_t tick) {
    return tick % 100 < 20 ? Launches{{2, 1, 1, 9}} : Launches{};
  };
  EXPECT_GT(taught("burst", 100 * 20 + 10, bursts)[kShape.cell(2, 1)], 0.5);
  EXPECT_LT(taught("burst", 100 * 20 + 60, bursts)[kShape.cell(2, 1)], 0.05);
}

// Teaches a piece launches and stops of alternating ticks on host 1, and returns what it foresees.
using Stops = std::vector<Stopped>;
std::vector<float> taught_with_stops(std::string_view name, const LaunchShape& shape, int64_t ticks,
                                     const std::function<Launches(int64_t)>& launches_of,
                                     const std::function<Stops(int64_t)>& stops_of) {
  auto piece = make_launch_piece(name, shape);
  std::vector<float> probability(shape.cells());
  for (int64_t tick = 0; tick <= ticks; ++tick) {
    (*piece)->foresee(tick, probability);
    if (tick == ticks) break;
    if (const Stops stops = stops_of(tick); !stops.empty()) (*piece)->learn_stops(tick, stops);
    (*piece)->learn(tick, launches_of(tick));
  }
  return probability;
}

TEST(LaunchPieces, RecencyTellsAStopFromALaunch) {
  // Launched each 20 ticks; stopped after 3, and then, every other time, started again in the next.
  const auto launches = [](int64_t tick) {
    return tick % 20 == 0 || tick % 40 == 4 ? Launches{{1, 1, 1, 1}} : Launches{};
  };
  const auto stops = [](int64_t tick) { return tick % 40 == 3 ? Stops{{1, 1}} : Stops{}; };
  const auto none = [](int64_t) { return Stops{}; };
  constexpr int64_t kTicks = 40 * 50 + 4;
  const size_t cell = kShape.cell(1, 1);
  EXPECT_GT(taught_with_stops("recency", kShape, kTicks, launches, stops)[cell], 0.8);
  EXPECT_LT(taught_with_stops("recency", kShape, kTicks, launches, none)[cell], 0.5);
}

TEST(LaunchPieces, TheNetworkKnowsWhatATenantLaunchesNext) {
  // Both tenants begin with manifest 0; the first goes on with 1, the second with 2.
  LaunchShape shape = kShape;
  shape.tenants = 3;
  const auto launches = [](int64_t tick) {
    const auto tenant = static_cast<uint32_t>(Rng(static_cast<uint64_t>(tick / 2)).below(2));
    const uint32_t manifest = tick % 2 == 0 ? 0 : 1 + tenant;
    return Launches{{1, manifest, 1, 1, tenant + 1}};
  };
  const auto none = [](int64_t) { return Stops{}; };
  for (int64_t ticks = 3001; ticks < 3011; ticks += 2) {
    const uint32_t tenant = launches(ticks - 1).front().tenant;
    const auto told = taught_with_stops("chow_liu", shape, ticks, launches, none);
    EXPECT_GT(told[shape.cell(1, tenant)], 3 * told[shape.cell(1, 3 - tenant)]) << ticks;
  }
}

TEST(LaunchPieces, TheNetworkKnowsWhatFollowsAStop) {
  // 2 is launched where 0 has stopped, 1 elsewhere.
  const auto launches = [](int64_t tick) {
    return tick % 2 == 0 ? Launches{} : Launches{{1, tick % 8 == 1 ? 2U : 1U, 1, 1}};
  };
  const auto stops = [](int64_t tick) { return tick % 8 == 0 ? Stops{{1, 0}} : Stops{}; };
  LaunchShape shape = kShape;
  shape.tick_s = 1800;  // a stop counts for an hour
  const auto after_stop = taught_with_stops("chow_liu", shape, 8001, launches, stops);
  const auto without = taught_with_stops("chow_liu", shape, 8005, launches, stops);
  EXPECT_GT(after_stop[shape.cell(1, 2)], 3 * after_stop[shape.cell(1, 1)]);
  EXPECT_GT(without[shape.cell(1, 1)], 3 * without[shape.cell(1, 2)]);
}

TEST(LaunchPieces, TheNetworkKnowsWhatFollowsOnAHost) {
  // Manifest 0 and 1 take turns on host 1: what came before decides.
  const auto turns = [](int64_t tick) {
    return Launches{{1, static_cast<uint32_t>(tick % 2), 1, 1}, {2, 2, 1, 1}};
  };
  const auto probability = taught("chow_liu", 2001, turns);  // the last was 0
  EXPECT_GT(probability[kShape.cell(1, 1)], 5 * probability[kShape.cell(1, 0)]);
  EXPECT_GT(probability[kShape.cell(2, 2)], 5 * probability[kShape.cell(2, 1)]);
}

}  // namespace
}  // namespace forerun::forecast
