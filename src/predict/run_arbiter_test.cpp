#include "predict/run_arbiter.h"

#include <gtest/gtest.h>

#include "core/rng.h"
#include "predict/testing.h"

namespace forerun::predict {
namespace {

constexpr ComponentId kDisk{1};

// Says what it is told to say.
class Parrot final : public Model {
 public:
  std::string_view name() const override { return "parrot"; }
  void on_start(Time, std::vector<Candidate>&) override {}
  void on_access(const trace::Access&, std::vector<Candidate>& out) override {
    out.insert(out.end(), says.begin(), says.end());
  }
  void on_end(Time) override {}
  size_t state_bytes() const override { return 0; }
  std::vector<Candidate> says;
};

struct World {
  explicit World(std::function<void(Arbiter::Options&)> change = {}) {
    Arbiter::Options options;
    options.unit = Arbiter::Options::Unit::kRuns;
    options.probability_min = 0.5f;
    options.horizon_reads = 200;
    options.calibration = {.prior_weight = 8, .memory = 256};
    if (change) change(options);
    std::vector<std::unique_ptr<Model>> models;
    models.push_back(std::make_unique<Parrot>());
    parrot = static_cast<Parrot*>(models.back().get());
    arbiter = std::make_unique<Arbiter>(options, std::move(models));
  }
  std::vector<Proposal> read(uint64_t block, uint32_t count = 1) {
    std::vector<Proposal> out;
    arbiter->on_access(read_of(block, count), out);
    return out;
  }
  Parrot* parrot = nullptr;
  std::unique_ptr<Arbiter> arbiter;
};

Candidate run_at(uint64_t block, uint32_t count, float said) {
  return {kDisk, block, count, said, 0, kTimeZero};
}

TEST(RunArbiter, ProposesARunAsItWasSaid) {
  World world;
  world.parrot->says = {run_at(100, 16, 0.9f), run_at(500, 4, 0.2f)};
  const auto proposed = world.read(1);
  ASSERT_EQ(proposed.size(), 1U);
  EXPECT_EQ(proposed[0].first_block, 100U);
  EXPECT_EQ(proposed[0].block_count, 16U);
}

TEST(RunArbiter, LeavesOutWhatIsHere) {
  World world([](Arbiter::Options& options) {
    options.which_are_here = [](ComponentId, uint64_t first, uint32_t count) {
      uint64_t bits = 0;
      for (uint32_t i = 0; i < count; ++i)
        if (first + i == 100 || first + i == 105) bits |= uint64_t{1} << i;
      return bits;
    };
  });
  world.parrot->says = {run_at(100, 64, 0.9f)};
  const auto proposed = world.read(1);
  ASSERT_EQ(proposed.size(), 2U);
  EXPECT_EQ(proposed[0].first_block, 101U);
  EXPECT_EQ(proposed[0].block_count, 4U);
  EXPECT_EQ(proposed[1].first_block, 106U);
  EXPECT_EQ(proposed[1].block_count, 58U);
}

TEST(RunArbiter, AsksBlockByBlockWhereNothingElseIsSet) {
  World world([](Arbiter::Options& options) {
    options.is_here = [](ComponentId, uint64_t block) { return block != 102; };
  });
  world.parrot->says = {run_at(100, 8, 0.9f)};
  const auto proposed = world.read(1);
  ASSERT_EQ(proposed.size(), 1U);
  EXPECT_EQ(proposed[0].first_block, 102U);
  EXPECT_EQ(proposed[0].block_count, 1U);
}

TEST(RunArbiter, LongRunsNeedASurerWord) {
  World world([](Arbiter::Options& options) { options.probability_per_doubling = 0.07f; });
  world.parrot->says = {run_at(100, 16, 0.6f), run_at(200, 2, 0.6f)};
  const auto proposed = world.read(1);
  ASSERT_EQ(proposed.size(), 1U);
  EXPECT_EQ(proposed[0].first_block, 200U);
}

TEST(RunArbiter, LearnsThatAModelPromisesTooMuchAndThenTooLittle) {
  World world;
  Rng rng(1);
  const auto play = [&](bool comes_true) {
    size_t proposed = 0;
    for (int i = 0; i < 600; ++i) {
      const uint64_t said = 1'000'000 + rng.below(1 << 30);
      world.parrot->says = {run_at(said, 4, 0.7f)};
      proposed += world.read(rng.below(1 << 19)).size();
      world.parrot->says.clear();
      if (comes_true) world.read(said, 4);
    }
    return proposed;
  };
  play(false);
  EXPECT_EQ(play(false), 0U) << "it is not believed";
  play(true);
  EXPECT_EQ(play(true), 600U) << "what is not proposed is watched too";
  const auto report = world.arbiter->report();
  EXPECT_EQ(report[0].name, "parrot");
  EXPECT_EQ(report.back().name, "proposed");
  EXPECT_GT(report.back().came_true, 500U);
}

TEST(RunArbiter, WhatIsReadLateIsNotHeldAgainstIt) {
  World world;
  world.parrot->says = {run_at(5000, 1, 0.9f)};
  world.read(1);
  world.parrot->says.clear();
  for (uint64_t i = 0; i < 120; ++i) world.read(10 + i * 64);
  EXPECT_EQ(world.arbiter->report().back().came_true, 0U);
  world.read(5000);
  EXPECT_EQ(world.arbiter->report().back().said, 1U);
  EXPECT_EQ(world.arbiter->report().back().came_true, 1U);
}

// One word in three comes true, which is below the threshold.
TEST(RunArbiter, ProposesMoreWhileLittleIsInVainAndLessWhileMuchIs) {
  const auto proposed_with = [](float waste_max) {
    World world([&](Arbiter::Options& options) {
      options.waste_max = waste_max;
      options.probability_least = 0.2f;
      options.calibration = {.prior_weight = 1e6, .memory = 256};
    });
    Rng rng(3);
    size_t proposed = 0;
    for (int i = 0; i < 12'000; ++i) {
      const uint64_t said = 1'000'000 + rng.below(1 << 30);
      world.parrot->says = {run_at(said, 1, 0.45f)};
      std::vector<Proposal> out;
      trace::Access access = read_of(rng.below(1 << 19));
      access.served_from = trace::ServedFrom::kRepository;
      world.arbiter->on_access(access, out);
      proposed += i > 6000 ? out.size() : 0;
      world.parrot->says.clear();
      if (rng.below(3) == 0) world.read(said);
    }
    return proposed;
  };
  EXPECT_LT(proposed_with(0), 100U);
  EXPECT_GT(proposed_with(5), 5000U);
  EXPECT_LT(proposed_with(0.2f), 5000U);
}

TEST(RunArbiter, SaysNoMoreAtOnceThanItMay) {
  World world([](Arbiter::Options& options) { options.proposals_per_access_max = 3; });
  for (uint64_t i = 0; i < 10; ++i)
    world.parrot->says.push_back(run_at(1000 * i + 100, 2, 0.55f + 0.04f * static_cast<float>(i)));
  const auto proposed = world.read(1);
  ASSERT_EQ(proposed.size(), 3U);
  EXPECT_EQ(proposed[0].first_block, 9100U);
}

// Random work for long enough that the ring of sayings goes round: state stays bounded, and a
// second run is the same.
TEST(RunArbiter, IsBoundedAndDeterministic) {
  const auto play = [] {
    World world;
    Rng rng(7);
    std::vector<uint64_t> blocks;
    for (int i = 0; i < 4000; ++i) {
      world.parrot->says.clear();
      for (int word = 0; word < 12; ++word)
        world.parrot->says.push_back(run_at(rng.below(1 << 12),
                                            1 + static_cast<uint32_t>(rng.below(64)),
                                            static_cast<float>(rng.below(100)) / 100));
      for (const Proposal& one :
           world.read(rng.below(1 << 12), 1 + static_cast<uint32_t>(rng.below(32))))
        blocks.push_back(one.first_block);
    }
    EXPECT_LT(world.arbiter->report().back().state_bytes, size_t{4} << 20);
    return blocks;
  };
  const auto once = play();
  EXPECT_FALSE(once.empty());
  EXPECT_EQ(once, play());
}

}  // namespace
}  // namespace forerun::predict
