// A disk that is pulled while the guest uses it, with power cuts and kills at any point, against
// the same law as without: what was flushed is there, and no arriving block replaces what the guest
// wrote. And proofs that the checker finds planted bugs.
#include <gtest/gtest.h>

#include "core/log.h"
#include "disk/crashable_folder.h"
#include "disk/frozen_overlay.h"
#include "disk/power_cut_checker.h"
#include "disk/pull_queue.h"

namespace forerun::disk {
namespace {

constexpr uint64_t kSize = 64 * kOverlayBlockSize + 1000;
constexpr uint64_t kPullId = 77;
using iosched::IoClass;

// The disk at the host that the VM left.
class SourceHost {
 public:
  explicit SourceHost(uint64_t seed) : folder_(seed) {
    overlay_ = Overlay::open(folder_, "disk", {.size_bytes = kSize, .base = base()}).value();
    PowerCutChecker writer({.size_bytes = kSize, .seed = seed * 31, .flush_chance = 0});
    for (int i = 0; i < 60; ++i) writer.step(*overlay_).value();
    frozen_ = FrozenOverlay::freeze(*overlay_, kPullId, kSize, base()).value();
  }
  static Digest base() { return sha256(as_bytes("image")); }
  OverlayContents contents() { return frozen_->contents().value(); }
  Status read_disk(ByteRange range, MutableByteView out) {
    std::ranges::copy(read_through(*overlay_, range), out.begin());
    return {};
  }
  // Fetches a piece and puts it into `target`.
  Status bring(Overlay& target, ByteRange range) {
    FR_ASSERT(!is_released, "a released source was asked");
    Buffer data(range.length);
    FR_TRY(const uint64_t checksum, frozen_->read(range, data, IoClass::kCritical));
    FR_ASSERT(checksum == piece_checksum(kPullId, range.offset, data));
    return target.put_remote(range.offset, data);
  }
  bool is_released = false;

 private:
  CrashableFolder folder_;
  std::unique_ptr<Overlay> overlay_;
  std::unique_ptr<FrozenOverlay> frozen_;
};

struct RunOptions {
  uint64_t seed = 0;
  int cycles = 40;
  double kill_chance = 0;
  bool releases_early =
      false;  // planted: the source goes when the last block came, not was durable
};

struct RunResult {
  uint64_t bad_sectors = 0;
  uint64_t flushes = 0;
  int pulls_ended = 0, cuts_while_pulling = 0;
  std::string problem;
};

// One VM's disk at the target, through cycles of open, verify, use and pull, cut or kill.
class Target {
 public:
  Target(CrashableFolder& disk, StorageFolder& folder, RunOptions run)
      : disk_(disk),
        folder_(folder),
        run_(run),
        rng_(run.seed ^ 0x5eed),
        source_(run.seed),
        checker_(
            {.size_bytes = kSize,
             .seed = run.seed,
             .flush_chance = 0.05,
             .read_first = [this](ByteRange range,
                                  MutableByteView out) { return source_.read_disk(range, out); },
             .prepare_write = [this](Overlay& overlay,
                                     ByteRange range) { return fetch_edges(overlay, range); },
             .read = [this](Overlay& overlay, ByteRange range) { return read(overlay, range); }}) {}

  RunResult run() {
    auto overlay = Overlay::open(folder_, "disk", options_);
    overlay.value()->begin_pull(kPullId, source_.contents().runs).value();
    for (int i = 0; i < run_.cycles; ++i) {
      use(**overlay);
      const bool is_cut = end_cycle(*overlay);
      overlay = Overlay::open(folder_, "disk", options_);
      if (!overlay) {  // with a planted bug the damage may also show here
        result_.problem = overlay.error().message;
        ++result_.bad_sectors;
        return result_;
      }
      result_.bad_sectors +=
          is_cut ? checker_.verify_after_cut(**overlay) : checker_.verify_now(**overlay);
      if (result_.bad_sectors > 0) break;
    }
    result_.flushes = checker_.flushes();
    if (result_.problem.empty()) result_.problem = checker_.first_problem();
    return result_;
  }

 private:
  bool is_gone(const Overlay& overlay) const {
    return source_.is_released && overlay.remote_blocks() > 0;
  }
  // What a guest would read: remote blocks as they stand at the source.
  Buffer read(Overlay& overlay, ByteRange range) {
    Buffer content(range.length);
    std::vector<OverlayRun> runs;
    overlay.look_up(range, runs);
    for (const OverlayRun& run : runs) {
      const MutableByteView part =
          MutableByteView(content).subspan(run.range.offset - range.offset, run.range.length);
      if (run.state == BlockState::kRemote) {
        if (!source_.is_released) source_.read_disk(run.range, part).value();
      } else {
        std::ranges::copy(read_through(overlay, run.range), part.begin());
      }
    }
    return content;
  }
  Status fetch_edges(Overlay& overlay, ByteRange range) {
    for (const uint64_t at : {range.offset, range.end() - 1}) {
      const ByteRange block =
          intersect({round_down(at, kOverlayBlockSize), kOverlayBlockSize}, {0, kSize});
      if (!overlay.next_remote(block).empty()) FR_CHECK(source_.bring(overlay, block));
    }
    return {};
  }
  // The guest's requests, with pieces that are asked for before some of them and come after.
  void use(Overlay& overlay) {
    PullQueue queue({}, overlay, kSize);
    std::vector<PullTask> flying;
    Time now = kTimeZero + 1s;
    for (uint64_t ops = rng_.between(0, 25); ops > 0 && !is_gone(overlay); --ops) {
      now += 1ms;
      if (rng_.chance(0.2)) {
        const uint64_t block = rng_.below(60);
        queue.want({block * kOverlayBlockSize, 2 * kOverlayBlockSize}, IoClass::kCritical, now);
      }
      if (rng_.chance(0.3)) {
        if (const auto task = queue.pull(now)) flying.push_back(*task);
      }
      EXPECT_TRUE(checker_.step(overlay));
      if (!flying.empty() && rng_.chance(0.3)) {
        const PullTask task = flying.back();
        flying.pop_back();
        EXPECT_TRUE(source_.bring(overlay, task.range));
        queue.on_complete(task, true, now);
      }
      if (overlay.remote_blocks() == 0 && overlay.pull_id() != 0 && flying.empty()) {
        if (run_.releases_early) source_.is_released = true;
        if (rng_.chance(0.3)) end_pull(overlay);
      }
    }
  }
  void end_pull(Overlay& overlay) {
    EXPECT_TRUE(overlay.end_pull());
    source_.is_released = true;
    ++result_.pulls_ended;
  }
  bool end_cycle(std::unique_ptr<Overlay>& overlay) {
    result_.cuts_while_pulling += overlay->pull_id() != 0 ? 1 : 0;
    overlay.reset();
    options_.owner_token += rng_.below(2);
    if (rng_.chance(run_.kill_chance)) return false;
    disk_.cut_power();
    ++options_.boot_token;
    return true;
  }

  CrashableFolder& disk_;
  StorageFolder& folder_;
  const RunOptions run_;
  Rng rng_;
  SourceHost source_;
  PowerCutChecker checker_;
  Overlay::Options options_{.size_bytes = kSize,
                            .base = SourceHost::base(),
                            .journal_bytes_max = 512,
                            .owner_token = 1,
                            .boot_token = 1};
  RunResult result_;
};

RunResult run(RunOptions options, const Faults& faults = {}) {
  CrashableFolder disk(options.seed);
  FaultyFolder folder(disk, faults);
  return Target(disk, folder, options).run();
}

class PullCrash : public testing::TestWithParam<uint64_t> {
 protected:
  PullCrash() { log::set_level(log::Level::kError); }
};
INSTANTIATE_TEST_SUITE_P(Seeds, PullCrash, testing::Range<uint64_t>(1, 21));

TEST_P(PullCrash, PowerCutsLoseNothingThatWasFlushed) {
  const RunResult result = run({.seed = GetParam()});
  EXPECT_EQ(result.bad_sectors, 0u) << result.problem;
  EXPECT_GT(result.flushes, 5u);
  EXPECT_GT(result.cuts_while_pulling, 0);
}

TEST_P(PullCrash, KillsLoseNothingAtAll) {
  const RunResult result = run({.seed = GetParam(), .kill_chance = 0.8});
  EXPECT_EQ(result.bad_sectors, 0u) << result.problem;
  EXPECT_EQ(result.pulls_ended, 1);
}

TEST_P(PullCrash, JournalBeforeDataIsCaught) {
  const Faults faults{.skips_flush = [](const std::string& name) { return name == "disk.data"; }};
  EXPECT_GT(run({.seed = GetParam()}, faults).bad_sectors, 0u);
}

TEST(PullCrashControl, ReleasingTheSourceTooEarlyIsCaught) {
  uint64_t bad = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed)
    bad += run({.seed = seed, .cycles = 100, .releases_early = true}).bad_sectors;
  EXPECT_GT(bad, 0u);
}

}  // namespace
}  // namespace forerun::disk
