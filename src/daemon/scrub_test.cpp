#include "daemon/scrub.h"

namespace forerun::daemon {
namespace {

bool of_file(std::string_view path) { return is_scrubbed(path, false, false); }
bool of_folder(std::string_view path) { return is_scrubbed(path, true, false); }

TEST(Scrub, WhatTellsOfTheBuilderGoes) {
  for (const char* path : {"etc/resolv.conf", "etc/hostname", "etc/machine-id", "etc/passwd-",
                           "usr/sbin/policy-rc.d", "var/lib/dpkg/lock", "tmp/left", "run/x.pid",
                           "var/log/apt/term.log", "var/lib/apt/lists/mirror_InRelease",
                           "etc/ssh/ssh_host_ed25519_key", "var/cache/debconf/config.dat-old"})
    EXPECT_TRUE(of_file(path)) << path;
  EXPECT_TRUE(of_folder("tmp/left"));
  EXPECT_TRUE(of_folder("run/nginx"));
}

TEST(Scrub, WhatBelongsToThePackagesStays) {
  for (const char* path : {"etc/passwd", "etc/ssh/sshd_config", "var/lib/dpkg/status",
                           "var/cache/debconf/config.dat", "usr/bin/hostname", "etc/hosts"})
    EXPECT_FALSE(of_file(path)) << path;
  for (const char* path : {"tmp", "run", "dev", "var/log", "var/log/nginx",
                           "var/cache/apt/archives", "var/lib/apt/lists/partial"})
    EXPECT_FALSE(of_folder(path)) << path;
}

TEST(Scrub, ABaseSaysThatItHasNoMachineIdYet) {
  EXPECT_FALSE(is_scrubbed("etc/machine-id", false, true));
}

}  // namespace
}  // namespace forerun::daemon
