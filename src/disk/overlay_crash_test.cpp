// Random operations, power cuts and kills against the checker, and proofs that the checker finds
// planted bugs.
#include <gtest/gtest.h>

#include "core/log.h"
#include "disk/crashable_folder.h"
#include "disk/overlay.h"
#include "disk/power_cut_checker.h"

namespace forerun::disk {
namespace {

constexpr uint64_t kSize = 24 * kOverlayBlockSize + 1000;

struct RunOptions {
  uint64_t seed = 0;
  int cycles = 100;
  double kill_chance = 0;       // of a cycle's end; otherwise a power cut
  bool stops_at_first = false;  // problem
};

struct RunResult {
  uint64_t bad_sectors = 0;
  uint64_t flushes = 0;
  int cycles = 0;
  uint64_t rewrites = 0;
  std::string problem;
};

// Runs cycles of: open, verify, random operations, power cut or kill.
RunResult run_cycles(CrashableFolder& disk, const Faults& faults, RunOptions run) {
  FaultyFolder folder(disk, faults);
  PowerCutChecker checker({.size_bytes = kSize, .seed = run.seed, .flush_chance = 0.08});
  Rng rng(run.seed ^ 0x5eed);
  RunResult result;
  Overlay::Options options{.size_bytes = kSize,
                           .base = sha256(as_bytes("image")),
                           .journal_bytes_max = 512,
                           .owner_token = 1,
                           .boot_token = 1};
  bool was_cut = true;
  for (; result.cycles < run.cycles; ++result.cycles) {
    auto overlay = Overlay::open(folder, "disk", options);
    if (!overlay) {
      // With a planted bug the damage may also show here.
      result.problem = overlay.error().message;
      ++result.bad_sectors;
      return result;
    }
    result.bad_sectors +=
        was_cut ? checker.verify_after_cut(**overlay) : checker.verify_now(**overlay);
    if (run.stops_at_first && result.bad_sectors > 0) break;
    for (uint64_t ops = rng.between(0, 60); ops > 0; --ops) {
      EXPECT_TRUE(checker.step(**overlay));
    }
    result.rewrites += (*overlay)->stats().rewrites;
    overlay->reset();
    was_cut = !rng.chance(run.kill_chance);
    if (was_cut) {
      disk.cut_power();
      ++options.boot_token;
    }
    options.owner_token += rng.below(2);
  }
  result.flushes = checker.flushes();
  if (result.problem.empty()) result.problem = checker.first_problem();
  return result;
}

class OverlayCrash : public testing::TestWithParam<uint64_t> {
 protected:
  OverlayCrash() { log::set_level(log::Level::kError); }
};
INSTANTIATE_TEST_SUITE_P(Seeds, OverlayCrash, testing::Range<uint64_t>(1, 21));

TEST_P(OverlayCrash, PowerCutsLoseNothingThatWasFlushed) {
  CrashableFolder disk(GetParam());
  const RunResult result = run_cycles(disk, {}, {.seed = GetParam(), .cycles = 150});

  EXPECT_EQ(result.bad_sectors, 0u) << result.problem;
  EXPECT_GT(result.flushes, 100u);
  EXPECT_GT(result.rewrites, 0u);
}

TEST_P(OverlayCrash, KillsLoseNothingAtAll) {
  CrashableFolder disk(GetParam());
  const RunResult result =
      run_cycles(disk, {}, {.seed = GetParam(), .cycles = 60, .kill_chance = 0.7});

  EXPECT_EQ(result.bad_sectors, 0u) << result.problem;
}

TEST_P(OverlayCrash, OneSkippedFlushInFiftyIsCaught) {
  CrashableFolder disk(GetParam());
  uint64_t flushes = 0;
  const Faults faults{.skips_flush = [&](const std::string&) { return ++flushes % 50 == 0; }};

  const RunResult result =
      run_cycles(disk, faults, {.seed = GetParam(), .cycles = 1000, .stops_at_first = true});

  EXPECT_GT(result.bad_sectors, 0u);
}

TEST_P(OverlayCrash, JournalBeforeDataIsCaught) {
  CrashableFolder disk(GetParam());
  const Faults faults{.skips_flush = [](const std::string& name) { return name == "disk.data"; }};

  const RunResult result =
      run_cycles(disk, faults, {.seed = GetParam(), .cycles = 20, .stops_at_first = true});

  EXPECT_GT(result.bad_sectors, 0u);
}

TEST_P(OverlayCrash, UnflushedSnapshotIsCaught) {
  CrashableFolder disk(GetParam());
  const Faults faults{
      .skips_flush = [](const std::string& name) { return name == "disk.map.new"; }};

  const RunResult result =
      run_cycles(disk, faults, {.seed = GetParam(), .cycles = 100, .stops_at_first = true});

  EXPECT_GT(result.bad_sectors, 0u);
}

// Without cuts the overlay is a plain disk.
TEST_P(OverlayCrash, AgreesWithAByteArray) {
  CrashableFolder disk(GetParam());
  PowerCutChecker checker({.size_bytes = kSize, .seed = GetParam(), .flush_chance = 0.02});
  const auto overlay = Overlay::open(
      disk, "disk",
      {.size_bytes = kSize, .base = sha256(as_bytes("image")), .journal_bytes_max = 2048});
  ASSERT_TRUE(overlay);
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(checker.step(**overlay));
    ASSERT_EQ(checker.verify_now(**overlay), 0u) << checker.first_problem();
  }
}

// Whatever stands in the map file: no crash, and no block with content that it never had.
TEST_P(OverlayCrash, DamagedMapNeverGivesForeignData) {
  Rng rng(GetParam());
  CrashableFolder disk(GetParam());
  PowerCutChecker checker(
      {.size_bytes = kSize, .seed = GetParam(), .flush_chance = 0.2, .keeps_history = true});
  const Overlay::Options options{
      .size_bytes = kSize, .base = sha256(as_bytes("image")), .journal_bytes_max = 4096};
  {
    const auto overlay = Overlay::open(disk, "disk", options);
    ASSERT_TRUE(overlay);
    for (int i = 0; i < 60; ++i) ASSERT_TRUE(checker.step(**overlay));
  }
  const Buffer good = disk.content("disk.map").bytes();
  int opened = 0;
  for (int round = 0; round < 60; ++round) {
    Buffer damaged = good;
    if (rng.chance(0.3)) damaged.resize(rng.below(damaged.size() + 1));
    for (uint64_t flips = rng.below(4); flips > 0 && !damaged.empty(); --flips) {
      damaged[rng.below(damaged.size())] = static_cast<std::byte>(rng.next());
    }
    if (rng.chance(0.1)) std::ranges::generate(damaged, [&] { return std::byte(rng.next()); });
    disk.content("disk.map").bytes() = damaged;
    disk.content("disk.map").settle();
    const auto overlay = Overlay::open(disk, "disk", options);
    if (!overlay) continue;
    ++opened;
    ASSERT_EQ(checker.verify_after_cut(**overlay), 0u) << checker.first_problem();
  }
  EXPECT_GT(opened, 0);
}

}  // namespace
}  // namespace forerun::disk
