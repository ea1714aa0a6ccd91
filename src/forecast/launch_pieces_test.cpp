#include "forecast/launch_pieces.h"

#include <gmock/gmock.h>

#include <functional>

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
