#include "daemon/scrub.h"

#include <algorithm>
#include <array>

namespace forerun::daemon {
namespace {

constexpr auto kFiles = std::to_array<std::string_view>({
    // the builder's own
    "etc/adjtime",
    "etc/apt/apt.conf.d/99mmdebstrap",
    "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
    "etc/hostname",
    "etc/mailname",
    "etc/resolv.conf",
    "usr/sbin/policy-rc.d",
    // each VM's own
    "var/lib/dbus/machine-id",
    "var/lib/systemd/credential.secret",
    "var/lib/systemd/random-seed",
    "var/lib/urandom/random-seed",
    // locks, caches, and what was before
    "etc/.pwd.lock",
    "etc/group-",
    "etc/gshadow-",
    "etc/passwd-",
    "etc/shadow-",
    "etc/subgid-",
    "etc/subuid-",
    "var/cache/debconf/config.dat-old",
    "var/cache/debconf/passwords.dat-old",
    "var/cache/debconf/templates.dat-old",
    "var/cache/ldconfig/aux-cache",
    "var/lib/apt/daily_lock",
    "var/lib/dpkg/available-old",
    "var/lib/dpkg/diversions-old",
    "var/lib/dpkg/lock",
    "var/lib/dpkg/lock-frontend",
    "var/lib/dpkg/status-old",
    "var/lib/dpkg/statoverride-old",
    "var/lib/dpkg/triggers/Lock",
});

// All that is in these goes, but not they themselves.
constexpr auto kEmptied = std::to_array<std::string_view>(
    {"dev/", "etc/apt/auth.conf.d/", "lost+found/", "proc/", "run/", "sys/", "tmp/", "var/tmp/"});
// In these, folders stay.
constexpr auto kFilesOnly =
    std::to_array<std::string_view>({"var/cache/apt/", "var/lib/apt/lists/", "var/log/"});

}  // namespace

bool is_scrubbed(std::string_view path, bool is_folder, bool is_base) {
  const auto begins = [&](std::string_view start) { return path.starts_with(start); };
  if (std::ranges::any_of(kEmptied, begins)) return true;
  if (is_folder) return false;
  if (path == "etc/machine-id") return !is_base;
  return std::ranges::any_of(kFilesOnly, begins) || begins("etc/ssh/ssh_host_") ||
         std::ranges::find(kFiles, path) != kFiles.end();
}

}  // namespace forerun::daemon
