#include "sim/world.h"

#include <gtest/gtest.h>

#include "core/log.h"

namespace forerun::sim {
namespace {

class WorldTest : public testing::Test {
 protected:
  // Injected faults make the rooms log a lot.
  void SetUp() override { log::set_level(log::Level{static_cast<int>(log::Level::kError) + 1}); }
  void TearDown() override { log::set_level(log::Level::kInfo); }
};

TEST_F(WorldTest, RepeatsASeedBitForBit) {
  const WorldResult first = run_world({.seed = 7, .span = 1s});
  const WorldResult second = run_world({.seed = 7, .span = 1s});
  EXPECT_EQ(first.violation, "");
  EXPECT_EQ(first.hash, second.hash);
  EXPECT_EQ(first.events, second.events);
  EXPECT_GT(first.guests.reads, 50u);
}

TEST_F(WorldTest, RunsAnotherSeedDifferently) {
  EXPECT_NE(run_world({.seed = 8, .span = 1s}).hash, run_world({.seed = 9, .span = 1s}).hash);
}

TEST_F(WorldTest, FindsAChunkServedUnverified) {
  std::string found;
  for (uint64_t seed = 1; seed < 20 && found.empty(); ++seed) {
    found = run_world({.seed = seed, .span = 1s, .plant_unverified_chunk = true}).violation;
  }
  EXPECT_NE(found, "");
}

}  // namespace
}  // namespace forerun::sim
