#include "volatile_mount.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "os/file.h"

namespace forerun {

VolatileMount::VolatileMount(const std::string& program) {
  if (::access("/dev/fuse", R_OK | W_OK) != 0) {
    problem_ = "/dev/fuse is missing or not accessible";
    return;
  }
  problem_ = "cannot mount a FUSE file system here (are root rights missing?)";
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

VolatileMount::~VolatileMount() {
  if (is_mounted_) unmount();
  if (pid_ > 0) {
    if (!is_mounted_) ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }
  if (!root_.empty()) std::filesystem::remove_all(root_);
}

bool VolatileMount::cut_power(const std::string& how) const {
  const os::Fd control(::open((path() + "/.powercut").c_str(), O_WRONLY | O_CLOEXEC));
  return control.is_open() &&
         ::write(control.get(), how.data(), how.size()) == static_cast<ssize_t>(how.size());
}

void VolatileMount::unmount() const {
  if (::umount2(path().c_str(), MNT_DETACH) == 0) return;
  // Without root rights the setuid helper does it.
  const pid_t helper = ::fork();
  if (helper == 0) {
    ::execlp("fusermount3", "fusermount3", "-u", "-z", path().c_str(), nullptr);
    ::_exit(127);
  }
  ::waitpid(helper, nullptr, 0);
}

dev_t VolatileMount::device() const {
  struct stat status{};
  return ::stat(path().c_str(), &status) == 0 ? status.st_dev : 0;
}

}  // namespace forerun
