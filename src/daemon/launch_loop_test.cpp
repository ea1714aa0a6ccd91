#include "daemon/launch_loop.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "core/rng.h"

namespace forerun::daemon {
namespace {

using testing::HasSubstr;

constexpr uint64_t kStart = 1'790'000'040;  // a whole minute
constexpr uint32_t kChunksPerImage = 10, kChunkBytes = 20000;

repository::ChunkRef chunk(uint64_t number) {
  repository::ChunkRef ref;
  std::memcpy(ref.id.bytes.data(), &number, sizeof number);
  ref.size = 65536;
  ref.stored_size = kChunkBytes;
  return ref;
}

// A host in virtual time: images of ten chunks each, a link that brings a chunk per round.
class LaunchLoopTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/forerun-loop-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void start(LaunchLoop::Options options = {}) {
    options.host = "node";
    options.need = [this](const ChunkId&, float probability, Time until) {
      ++held_;
      EXPECT_GE(probability, 0.3F);
      EXPECT_EQ(until, now_ + 10min);
    };
    auto history = LaunchHistory::open(folder_ + "/launches", second_, {});
    ASSERT_TRUE(history) << history.error().message;
    loop_ = std::make_unique<LaunchLoop>(
        options, std::move(*history), [this](const std::string& image) { return look(image); },
        [this](const ChunkId& id) { return here_.contains(id); });
    loop_->learn(second_);
  }
  // Teaches launches of `image` every `period` seconds over `span`, up to now.
  void teach(const std::string& image, uint64_t period, uint64_t span) {
    std::string text;
    for (uint64_t at = second_ - span; at <= second_; at += period)
      text += fmt::format("{} {},@node,|\n", at, image);
    ASSERT_TRUE(os::write_file_atomic(folder_ + "/past", as_bytes(text)));
    const auto read = loop_->import(folder_ + "/past", second_);
    ASSERT_TRUE(read) << read.error().message;
  }
  Result<LaunchLoop::Chunks> look(const std::string& image) {
    ++looks_;
    if (is_repository_gone_) return fail(ErrorCode::kUnavailable, "gone");
    const auto found = images_.find(image);
    if (found == images_.end()) return fail(ErrorCode::kNotFound, "no such image");
    LaunchLoop::Chunks chunks;
    for (uint64_t i = 0; i < kChunksPerImage; ++i)
      chunks.push_back({ComponentId{1}, i, chunk(found->second + i), 1});
    return chunks;
  }
  // Time goes by, second for second; what is fetched arrives at once.
  void run(uint64_t seconds) {
    for (uint64_t i = 0; i < seconds; ++i) {
      ++second_;
      now_ += 1s;
      loop_->advance(second_, {1e6, 20ms}, now_);
      std::vector<prefetch::PrefetchCommand> commands;
      do {
        commands.clear();
        loop_->fetcher().pull(now_, commands);
        fetched_ += commands.size();
        for (const auto& command : commands) {
          if (is_link_slow_) continue;
          here_.insert(command.chunk.id);
          loop_->fetcher().on_fetched(command.chunk.id, true, now_);
        }
      } while (!commands.empty() && !is_link_slow_);
      loop_->settle(second_);
    }
  }
  // The image is launched and its boot reads all of it.
  void launch(const std::string& image) {
    loop_->on_launch(image, tenant_, second_, now_);
    for (uint64_t i = 0; i < kChunksPerImage; ++i) {
      const ChunkId id = chunk(images_.at(image) + i).id;
      loop_->fetcher().on_read(id, !here_.contains(id), now_);
      here_.insert(id);
    }
    loop_->settle(second_);
  }
  bool is_here(const std::string& image) {
    for (uint64_t i = 0; i < kChunksPerImage; ++i)
      if (!here_.contains(chunk(images_.at(image) + i).id)) return false;
    return true;
  }

  std::string folder_;
  uint64_t second_ = kStart;
  Time now_ = kTimeZero + 1s;
  std::map<std::string, uint64_t> images_ = {{"web", 100}, {"db", 200}, {"ci", 300}};
  std::string tenant_;
  std::set<ChunkId> here_;
  uint64_t looks_ = 0, fetched_ = 0, held_ = 0;
  bool is_repository_gone_ = false, is_link_slow_ = false;
  std::unique_ptr<LaunchLoop> loop_;
};

TEST_F(LaunchLoopTest, FetchesBeforeTheLaunchAndScoresTheHit) {
  start();
  teach("web", 1200, 21600);
  run(700);
  ASSERT_TRUE(is_here("web"));
  EXPECT_FALSE(is_here("db"));
  EXPECT_GE(held_, kChunksPerImage);
  run(500);
  launch("web");
  const auto report = loop_->report();
  EXPECT_EQ(report.state, "on");
  EXPECT_EQ(report.total.launches, 1U);
  ASSERT_EQ(report.total.methods.size(), 3U);
  EXPECT_EQ(report.total.methods[0].launches_ready, 1U);
  EXPECT_EQ(report.total.fetched_bytes, kChunksPerImage * kChunkBytes);
  EXPECT_EQ(report.total.used_bytes, report.total.fetched_bytes);
  ASSERT_FALSE(report.windows.empty());
  EXPECT_EQ(report.windows[0].outcome, "hit");
  EXPECT_EQ(report.windows[0].used_bytes, kChunksPerImage * kChunkBytes);
  ASSERT_FALSE(report.forecast.empty());
  EXPECT_EQ(report.forecast[0].image, "web");
  EXPECT_EQ(report.forecast[0].pieces.size(), 6U);
  EXPECT_THAT(launch_metrics(report), HasSubstr("forerun_launch_windows_total{outcome=\"hit\"} 1"));
}

TEST_F(LaunchLoopTest, ALaunchBeforeItsChunksAreHereIsLate) {
  start();
  teach("web", 600, 21600);
  is_link_slow_ = true;
  run(300);
  launch("web");
  EXPECT_EQ(loop_->report().total.launches_late, 1U);
  EXPECT_EQ(loop_->report().total.methods[0].launches_ready, 0U);
}

TEST_F(LaunchLoopTest, FetchesNothingForWhatIsUnlikelyUnknownOrGone) {
  start();
  run(120);
  EXPECT_EQ(looks_, 0U);
  teach("web", 86400, 3 * 86400);
  run(180);
  EXPECT_EQ(looks_, 0U);
  teach("lost", 300, 21600);
  run(180);
  EXPECT_GT(looks_, 0U);
  EXPECT_EQ(fetched_, 0U);
  EXPECT_TRUE(loop_->report().windows.empty());
}

TEST_F(LaunchLoopTest, AsksARepositoryThatIsGoneOncePerPeriod) {
  start();
  teach("web", 300, 21600);
  teach("db", 300, 21600);
  is_repository_gone_ = true;
  run(240);
  EXPECT_LE(looks_, 4U);
  is_repository_gone_ = false;
  run(61);
  EXPECT_TRUE(is_here("web"));
}

TEST_F(LaunchLoopTest, FallsSilentWhenItsImageIsLaunchedNoMore) {
  start();
  teach("web", 300, 43200);
  run(60);
  ASSERT_TRUE(is_here("web"));
  for (int i = 0; i < 12; ++i) {
    run(600);
    here_.clear();  // others took the room
  }
  const uint64_t fetched = fetched_;
  run(6 * 600);
  EXPECT_EQ(fetched_, fetched);
  const auto report = loop_->report();
  EXPECT_GT(report.total.methods[0].windows_wasted, 0U);
  EXPECT_EQ(report.total.wasted_bytes + report.undecided_bytes, report.total.fetched_bytes);
}

TEST_F(LaunchLoopTest, ObservingFetchesNothingAndScoresAllTheSame) {
  start({.acts = false});
  teach("web", 600, 21600);
  run(300);
  launch("web");
  EXPECT_EQ(fetched_, 0U);
  EXPECT_EQ(loop_->report().state, "observe");
  EXPECT_EQ(loop_->report().total.methods[0].launches_ready, 1U);
}

TEST_F(LaunchLoopTest, KnowsAfterARestartWhatItKnewBefore) {
  start();
  teach("web", 600, 21600);
  run(120);
  launch("web");
  loop_->on_stop("web", second_);
  const auto before = loop_->report();
  start();
  const auto after = loop_->report();
  EXPECT_EQ(after.history_lines, before.history_lines);
  ASSERT_FALSE(after.forecast.empty());
  EXPECT_EQ(after.forecast[0].image, "web");
  EXPECT_NEAR(after.forecast[0].probability, before.forecast[0].probability, 0.2);
}

// Red's VMs are web and then db, blue's are web and then ci: who launched web says what comes next.
TEST_F(LaunchLoopTest, ForeseesByTheTenant) {
  start();
  Rng rng(7);
  for (int round = 0; round < 60; ++round) {
    const bool is_red = rng.chance(0.5);
    tenant_ = is_red ? "red" : "blue";
    launch("web");
    run(300);
    launch(is_red ? "db" : "ci");
    run(1500);
  }
  for (const char* tenant : {"red", "blue"}) {
    tenant_ = tenant;
    launch("web");
    run(120);
    std::map<std::string, double> said;  // by the network, which knows tenants
    for (const auto& one : loop_->report().forecast)
      for (const auto& piece : one.pieces)
        if (piece.name == "chow_liu") said[one.image] = piece.probability;
    EXPECT_GT(said[tenant_ == "red" ? "db" : "ci"], 2 * said[tenant_ == "red" ? "ci" : "db"])
        << tenant;
    run(1800);
  }
}

TEST_F(LaunchLoopTest, RanksTheComponentsOfLikelyImages) {
  start();
  loop_->set_components("web", {"base", "nginx"});
  loop_->set_components("db", {"base", "redis"});
  for (int i = 0; i < 24; ++i) {
    launch("web");
    if (i % 3 == 0) launch("db");
    run(600);
  }
  const auto report = loop_->report();
  std::map<std::string, double> images, components;
  for (const auto& one : report.forecast) images[one.image] = one.probability;
  for (const auto& one : report.components) components[one.component] = one.probability;
  EXPECT_GT(images["web"], images["db"]);
  EXPECT_DOUBLE_EQ(components["nginx"], images["web"]);
  EXPECT_DOUBLE_EQ(components["redis"], images["db"]);
  EXPECT_DOUBLE_EQ(components["base"], 1 - (1 - images["web"]) * (1 - images["db"]));
  EXPECT_EQ(report.components.front().component, "base");
  EXPECT_THAT(report.components.front().images, ::testing::ElementsAre("web", "db"));
}

TEST_F(LaunchLoopTest, QuietTimesAreNotedSoThatTheyAreNotTakenForAbsence) {
  start();
  run(2 * 3600 + 60);
  EXPECT_EQ(loop_->report().history_lines, 5U);
  EXPECT_GE(loop_->report().ticks_learned, 118U);
}

TEST_F(LaunchLoopTest, TakesInNewImagesAsTheyCome) {
  start();
  for (int i = 0; i < 12; ++i) {
    run(30);
    loop_->on_launch(fmt::format("ci-{}", i), {}, second_, now_);
  }
  EXPECT_EQ(loop_->report().history_images, 12U);
  EXPECT_EQ(loop_->report().total.launches, 12U);
}

}  // namespace
}  // namespace forerun::daemon
