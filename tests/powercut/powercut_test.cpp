// The overlay on real files over a real write cache that loses power: nothing that a flush
// acknowledged may be lost, and the same run without flushes must lose something, or the test
// proves nothing.
//
// usage: powercut_test VOLATILE_FS_PROGRAM [CUTS]; exits 77, with the reason, where FUSE cannot be
// used.
#include <cstdlib>

#include "core/log.h"
#include "disk/crashable_folder.h"
#include "disk/power_cut_checker.h"
#include "os/file.h"
#include "volatile_mount.h"

namespace forerun {
namespace {

constexpr int kSkipped = 77;
constexpr uint64_t kDiskSize = 64 * disk::kOverlayBlockSize + 1000;

struct Outcome {
  int cuts = 0;
  uint64_t flushes = 0;
  uint64_t writes = 0;
  uint64_t lost = 0;  // sectors that break the law
  std::string problem;
};

// Runs cycles of random writes, a power cut, and a check, until one finds a loss. The first
// opening, which creates the overlay, is honest; then `is_skipped` tells which flushes are not
// done.
Outcome run(const VolatileMount& mount, const std::string& folder_name, uint64_t seed, int cuts_max,
            const std::function<bool(const std::string&)>& is_skipped) {
  Outcome outcome;
  auto posix = os::PosixFolder::open(mount.path() + "/" + folder_name);
  if (!posix) return {.lost = 1, .problem = posix.error().message};
  bool is_armed = false;
  const disk::Faults faults{
      .skips_flush = [&](const std::string& name) { return is_armed && is_skipped(name); }};
  disk::FaultyFolder folder(**posix, faults);
  disk::PowerCutChecker checker({.size_bytes = kDiskSize, .seed = seed});
  Rng rng(seed ^ 0xc07);
  disk::Overlay::Options options{.size_bytes = kDiskSize,
                                 .base = sha256(as_bytes("image")),
                                 .journal_bytes_max = 512,
                                 .owner_token = 1,
                                 .boot_token = 1};
  while (true) {
    auto overlay = disk::Overlay::open(folder, "disk", options);
    is_armed = true;
    outcome.lost = overlay ? checker.verify_after_cut(**overlay) : 1;
    outcome.problem = overlay ? checker.first_problem() : overlay.error().message;
    outcome.flushes = checker.flushes();
    outcome.writes = checker.writes();
    if (outcome.lost > 0 || outcome.cuts == cuts_max) return outcome;
    for (uint64_t operations = rng.between(1, 80); operations > 0; --operations) {
      if (auto status = checker.step(**overlay); !status) {
        return {.lost = 1, .problem = status.error().message};
      }
    }
    overlay->reset();
    const std::string how = rng.chance(0.3) ? "drop" : fmt::format("subset {}", rng.next() >> 1);
    if (!mount.cut_power(how)) return {.lost = 1, .problem = "the power cut failed"};
    ++outcome.cuts;
    ++options.boot_token;
  }
}

bool check_control(const VolatileMount& mount, std::string_view what, int cuts_max,
                   const std::function<bool(const std::string&)>& is_skipped) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    const auto folder = fmt::format("control-{}-{}", what, seed);
    const Outcome outcome = run(mount, folder, seed, cuts_max, is_skipped);
    if (outcome.lost == 0) {
      fmt::print("FAILED: control {}, seed {}: no loss found in {} cuts\n", what, seed, cuts_max);
      return false;
    }
    fmt::print("control {}, seed {}: loss found at cut {}: {}\n", what, seed, outcome.cuts,
               outcome.problem);
  }
  return true;
}

int run_all(const std::string& program, int cuts) {
  const VolatileMount mount(program);
  if (!mount.is_mounted()) {
    fmt::print("skipped: {}\n", mount.problem());
    return kSkipped;
  }
  log::set_level(log::Level::kError);
  const Outcome outcome = run(mount, "overlay", 1, cuts, [](const std::string&) { return false; });
  fmt::print("{} power cuts, {} writes, {} flushes: {} flushed sectors lost\n", outcome.cuts,
             outcome.writes, outcome.flushes, outcome.lost);
  if (outcome.lost > 0) {
    fmt::print("FAILED: {}\n", outcome.problem);
    return 1;
  }
  const auto every = [](const std::string&) { return true; };
  const auto of_data = [](const std::string& name) { return name == "disk.data"; };
  if (!check_control(mount, "no-flush", 3, every)) return 1;
  if (!check_control(mount, "no-data-flush", 3, of_data)) return 1;
  return 0;
}

}  // namespace
}  // namespace forerun

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: powercut_test VOLATILE_FS_PROGRAM [CUTS]\n");
    return 2;
  }
  return forerun::run_all(argv[1], argc > 2 ? std::atoi(argv[2]) : 2000);
}
