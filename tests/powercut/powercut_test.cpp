// The overlay on real files over a real write cache that loses power: nothing that a flush
// acknowledged may be lost, and the same run without flushes must lose something, or the test
// proves nothing.
//
// usage: powercut_test VOLATILE_FS_PROGRAM [CUTS]; exits 77, with the reason, where FUSE cannot be
// used.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>

#include "core/log.h"
#include "disk/crashable_folder.h"
#include "disk/power_cut_checker.h"
#include "os/file.h"

namespace forerun {
namespace {

constexpr int kSkipped = 77;
constexpr uint64_t kDiskSize = 64 * disk::kOverlayBlockSize + 1000;

// A mounted volatile_fs; unmounted and removed at the end.
class VolatileMount {
 public:
  explicit VolatileMount(const std::string& program) {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "forerun-powercut-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
    std::filesystem::create_directories(root_ + "/backing");
    std::filesystem::create_directories(path());
    const dev_t before = device();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::execl(program.c_str(), program.c_str(), (root_ + "/backing").c_str(), path().c_str(),
              nullptr);
      ::_exit(127);
    }
    for (int tries = 0; tries < 500 && !is_mounted_; ++tries) {
      is_mounted_ = device() != before;
      if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
        pid_ = -1;
        return;
      }
      ::usleep(10'000);
    }
  }
  ~VolatileMount() {
    if (is_mounted_) unmount();
    if (pid_ > 0) {
      if (!is_mounted_) ::kill(pid_, SIGTERM);
      ::waitpid(pid_, nullptr, 0);
    }
    std::filesystem::remove_all(root_);
  }
  VolatileMount(const VolatileMount&) = delete;
  VolatileMount& operator=(const VolatileMount&) = delete;

  bool is_mounted() const { return is_mounted_; }
  std::string path() const { return root_ + "/mount"; }
  bool cut_power(const std::string& how) const {
    const os::Fd control(::open((path() + "/.powercut").c_str(), O_WRONLY | O_CLOEXEC));
    return control.is_open() &&
           ::write(control.get(), how.data(), how.size()) == static_cast<ssize_t>(how.size());
  }

 private:
  void unmount() const {
    if (::umount2(path().c_str(), MNT_DETACH) == 0) return;
    // Without root rights the setuid helper does it.
    const pid_t helper = ::fork();
    if (helper == 0) {
      ::execlp("fusermount3", "fusermount3", "-u", "-z", path().c_str(), nullptr);
      ::_exit(127);
    }
    ::waitpid(helper, nullptr, 0);
  }
  dev_t device() const {
    struct stat status{};
    return ::stat(path().c_str(), &status) == 0 ? status.st_dev : 0;
  }
  std::string root_;
  pid_t pid_ = -1;
  bool is_mounted_ = false;
};

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
  if (::access("/dev/fuse", R_OK | W_OK) != 0) {
    fmt::print("skipped: /dev/fuse is missing or not accessible\n");
    return kSkipped;
  }
  const VolatileMount mount(program);
  if (!mount.is_mounted()) {
    fmt::print("skipped: cannot mount a FUSE file system here (are root rights missing?)\n");
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
