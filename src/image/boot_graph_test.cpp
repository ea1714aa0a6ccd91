#include "image/boot_graph.h"

#include <gtest/gtest.h>

#include "image/boot_modules.h"
#include "image/elf_builder.h"
#include "image/memory_file_system.h"

namespace forerun::image {
namespace {

// A small Debian: merged /usr, systemd with one library, a web server.
struct BootGraphTest : testing::Test {
  BootGraphTest() {
    files.add_link("/lib", "usr/lib");
    files.add_link("/sbin", "usr/sbin");
    files.add_link("/bin", "usr/bin");
    files.add_link("/usr/sbin/init", "/lib/systemd/systemd");
    files.add_file("/usr/lib/systemd/systemd", ElfBuilder{.interpreter = "/usr/lib/ld.so",
                                                          .libraries = {"libcore.so"},
                                                          .run_path = "/usr/lib/private"}
                                                   .build());
    files.add_file("/usr/lib/ld.so", ElfBuilder{}.build());
    files.add_file("/usr/lib/private/libcore.so", ElfBuilder{.libraries = {"libc.so.6"}}.build());
    files.add_file("/usr/lib/libc.so.6", ElfBuilder{}.build());
    files.add_file("/usr/lib/libunused.so", ElfBuilder{}.build());
    unit("default.target", "[Unit]\nRequires=sysinit.target\n");
    unit("sysinit.target", "[Unit]\nWants=modprobe@fuse.service\n");
    unit("modprobe@.service", "[Service]\nExecStart=-/sbin/modprobe -abq %i\n");
    unit("web.service", "[Service]\nExecStart=/usr/sbin/web -c /etc/web/web.conf\n");
    unit("idle.service", "[Service]\nExecStart=/usr/sbin/idle\n");
    files.add_link("/etc/systemd/system/default.target.wants/web.service",
                   "/lib/systemd/system/web.service");
    files.add_file("/usr/sbin/modprobe", ElfBuilder{}.build());
    files.add_file("/usr/sbin/web", ElfBuilder{.libraries = {"libc.so.6"}}.build());
    files.add_file("/usr/sbin/idle", ElfBuilder{}.build());
    files.add_file("/etc/web/web.conf", "load modules/mod.so;\nroot /srv/www; # /usr/sbin/idle\n");
    files.add_file("/usr/lib/web/modules/mod.so", ElfBuilder{}.build());
    files.add_folder("/srv/www");
    module("fs/fuse/fuse", "");
    module("net/core/failover", "");
    module("net/virtio_net", "kernel/net/core/failover.ko");
    module("sound/none", "");
    files.add_file("/usr/lib/modules/6.1.0-9/modules.dep", dependencies);
    files.add_file("/usr/lib/modules/6.1.0-9/modules.alias",
                   "# comment\nalias virtio:d00000001v* virtio_net\nalias pci:v0000FFFFd* none\n");
    files.add_folder("/usr/lib/modules/5.10.0-20");
  }

  void unit(const std::string& name, std::string text) {
    files.add_file("/usr/lib/systemd/system/" + name, std::move(text));
  }
  void module(const std::string& path, const std::string& needs) {
    files.add_file("/usr/lib/modules/6.1.0-9/kernel/" + path + ".ko", "module");
    dependencies += "kernel/" + path + ".ko: " + needs + "\n";
  }
  BootGraph graph(BootGraphOptions options = {}) {
    auto graph = read_boot_graph(files, options);
    EXPECT_TRUE(graph) << graph.error().message;
    return graph ? std::move(*graph) : BootGraph{};
  }
  // Returns the place of a file's content in the order of reads, or -1.
  int place(const BootGraph& graph, std::string_view path) {
    const uint64_t offset = MemoryFileSystem::content_offset(files.id_of(path));
    for (size_t i = 0; i < graph.reads.size(); ++i)
      if (graph.reads[i].range.offset == offset) return static_cast<int>(i);
    return -1;
  }

  MemoryFileSystem files;
  std::string dependencies;
};

TEST_F(BootGraphTest, FollowsInitToItsLibraries) {
  const BootGraph found = graph();
  EXPECT_EQ(found.init, "/usr/lib/systemd/systemd");
  EXPECT_LT(place(found, "/usr/lib/systemd/systemd"), place(found, "/usr/lib/ld.so"));
  EXPECT_LT(place(found, "/usr/lib/ld.so"), place(found, "/usr/lib/private/libcore.so"));
  EXPECT_LT(place(found, "/usr/lib/private/libcore.so"), place(found, "/usr/lib/libc.so.6"));
  EXPECT_EQ(place(found, "/usr/lib/libunused.so"), -1);
}

TEST_F(BootGraphTest, FollowsEnabledUnitsToProgramsAndConfiguration) {
  const BootGraph found = graph();
  EXPECT_GT(place(found, "/usr/sbin/web"), place(found, "/usr/lib/systemd/systemd"));
  EXPECT_NE(place(found, "/etc/web/web.conf"), -1);
  EXPECT_NE(place(found, "/usr/lib/web/modules/mod.so"), -1);
  EXPECT_NE(place(found, "/srv/www"), -1);
  EXPECT_EQ(place(found, "/usr/sbin/idle"), -1);
  EXPECT_EQ(place(found, "/usr/lib/systemd/system/idle.service"), -1);
}

TEST_F(BootGraphTest, ModulesOfUnitsAndOfVirtualHardware) {
  const BootGraph found = graph();
  EXPECT_NE(place(found, "/usr/lib/modules/6.1.0-9/kernel/fs/fuse/fuse.ko"), -1);
  const int needed = place(found, "/usr/lib/modules/6.1.0-9/kernel/net/core/failover.ko");
  EXPECT_NE(needed, -1);
  EXPECT_LT(needed, place(found, "/usr/lib/modules/6.1.0-9/kernel/net/virtio_net.ko"));
  EXPECT_EQ(place(found, "/usr/lib/modules/6.1.0-9/kernel/sound/none.ko"), -1);
}

TEST_F(BootGraphTest, UnitsWhoseConditionFailsAreNotStarted) {
  unit("web.service",
       "[Unit]\nConditionPathExists=/etc/not-there\n[Service]\nExecStart=/usr/sbin/web\n");
  const BootGraph found = graph();
  EXPECT_NE(place(found, "/usr/lib/systemd/system/web.service"), -1);  // loaded all the same
  EXPECT_EQ(place(found, "/usr/sbin/web"), -1);
}

TEST_F(BootGraphTest, ConditionsStopAUnitButNotWhatItPullsIn) {
  unit("web.service",
       "[Unit]\nWants=idle.service\nConditionPathExists=|/sysroot/etc\n"
       "ConditionVirtualization=container\n[Service]\nExecStart=/usr/sbin/web\n");
  const BootGraph found = graph();
  EXPECT_NE(place(found, "/usr/sbin/idle"), -1);
  EXPECT_EQ(place(found, "/usr/sbin/web"), -1);
}

TEST_F(BootGraphTest, WhatNeedsFirmwareIsUnlikely) {
  unit("web.service",
       "[Unit]\nConditionPathExists=/sys/firmware/efi/efivars/x\n"
       "[Service]\nExecStart=/usr/bin/measure\n");
  files.add_file("/usr/bin/measure", ElfBuilder{}.build());
  const BootGraph found = graph();
  const int at = place(found, "/usr/bin/measure");
  ASSERT_NE(at, -1);
  EXPECT_LT(found.reads[static_cast<size_t>(at)].probability, 0.3f);
}

TEST_F(BootGraphTest, OfTheIndexOfSymbolsTheHeadIsRead) {
  files.add_file("/usr/lib/modules/6.1.0-9/modules.symbols.bin", std::string(300 * kKiB, 'x'));
  const FileId file = files.id_of("/usr/lib/modules/6.1.0-9/modules.symbols.bin");
  uint64_t bytes = 0;
  for (const BootRead& read : graph().reads)
    bytes += read.file == file && !read.is_record ? read.range.length : 0;
  EXPECT_EQ(bytes, 128 * kKiB);
}

TEST_F(BootGraphTest, MaskedUnitsAreNotStarted) {
  files.add_link("/etc/systemd/system/web.service", "/dev/null");
  EXPECT_EQ(place(graph(), "/usr/sbin/web"), -1);
}

TEST_F(BootGraphTest, AvailableConfigurationWaitsForItsLink) {
  files.add_file("/etc/web/sites-available/on", "site");
  files.add_file("/etc/web/sites-available/off", "site");
  files.add_link("/etc/web/sites-enabled/on", "../sites-available/on");
  const BootGraph found = graph();
  EXPECT_NE(place(found, "/etc/web/sites-available/on"), -1);
  EXPECT_EQ(place(found, "/etc/web/sites-available/off"), -1);
}

// The loader reads both ends of a library; its code only as far as it is called.
TEST_F(BootGraphTest, MiddleOfALargeLibraryOfALibraryIsLessLikely) {
  files.add_file("/usr/lib/libcall.so", ElfBuilder{.libraries = {"libbig.so"}}.build());
  files.add_file("/usr/lib/libbig.so", ElfBuilder{}.build() + std::string(kMiB, 'x'));
  files.add_file("/usr/sbin/web", ElfBuilder{.libraries = {"libcall.so"}}.build());
  const uint64_t begin = MemoryFileSystem::content_offset(files.id_of("/usr/lib/libbig.so"));
  float edge = 0, middle = 1;
  for (const BootRead& read : graph().reads) {
    if (read.range.offset == begin) edge = read.probability;
    if (ByteRange{begin + 512 * kKiB, 1}.overlaps(read.range)) middle = read.probability;
  }
  EXPECT_GT(edge, 0.8f);
  EXPECT_LT(middle, 0.55f);
}

TEST_F(BootGraphTest, CommandsThatADropInTakesBackAreNotStarted) {
  files.add_file("/usr/bin/wrapper", ElfBuilder{}.build());
  unit("web.service", "[Service]\nExecStart=/usr/bin/wrapper /usr/sbin/web\n");
  files.add_file("/etc/systemd/system/web.service.d/own.conf",
                 "[Service]\nExecStart=\nExecStart=/usr/sbin/idle\n");
  const BootGraph found = graph();
  EXPECT_NE(place(found, "/usr/sbin/idle"), -1);
  EXPECT_EQ(place(found, "/usr/bin/wrapper"), -1);
}

// Of udev's database what is looked up, with 64 KiB on both sides.
TEST_F(BootGraphTest, UdevReadsAPartOfItsDatabase) {
  std::string database("KSLPHHRH");
  database.resize(4 * kMiB);
  for (const auto& [at, value] : {std::pair{32, 24}, {40, 16}, {48, 16}})
    database[static_cast<size_t>(at)] = static_cast<char>(value);
  database[58] = 0x20;  // the root, a node of nothing, stands at 2 MiB
  files.add_file("/usr/lib/udev/hwdb.bin", database);
  files.add_file("/usr/lib/systemd/systemd-udevd", ElfBuilder{}.build());
  unit("udevd.service", "[Service]\nExecStart=/usr/lib/systemd/systemd-udevd\n");
  unit("sysinit.target", "[Unit]\nWants=udevd.service\n");
  const FileId file = files.id_of("/usr/lib/udev/hwdb.bin");
  uint64_t bytes = 0;
  for (const BootRead& read : graph().reads)
    bytes += read.file == file && !read.is_record ? read.range.length : 0;
  EXPECT_EQ(bytes, 256 * kKiB);
}

TEST_F(BootGraphTest, InstancesThatAGeneratorMakesAreFollowed) {
  const auto starts_database = [&] {
    return place(graph(), "/usr/lib/database/15/bin/server") != -1;
  };
  unit("database@.service",
       "[Unit]\nAssertPathExists=/etc/database/%I\n[Service]\nExecStart=/usr/bin/wrapper %i\n");
  files.add_file("/usr/bin/wrapper", "#!/bin/sh\nexec \"/usr/lib/database/$v/bin/\"'server'\n");
  files.add_file("/usr/lib/database/15/bin/server", ElfBuilder{}.build());
  EXPECT_FALSE(starts_database());
  files.add_file(
      "/usr/lib/systemd/system-generators/database-generator",
      "#!/bin/sh\nln -s /lib/systemd/system/database@.service \"$1/database@15.service\"\n");
  EXPECT_TRUE(starts_database());
}

TEST_F(BootGraphTest, SocketsBringTheirService) {
  unit("bus.socket", "[Socket]\nListenStream=/run/bus\n");
  unit("bus.service", "[Service]\nExecStart=/usr/sbin/idle\n");
  unit("sysinit.target", "[Unit]\nWants=bus.socket\n");
  EXPECT_NE(place(graph(), "/usr/sbin/idle"), -1);
}

TEST_F(BootGraphTest, BootLoaderReadsTheNewestKernel) {
  files.add_file("/boot/vmlinuz-6.1.0-9", "kernel");
  files.add_file("/boot/vmlinuz-5.10.0-20", "old kernel");
  EXPECT_EQ(place(graph(), "/boot/vmlinuz-6.1.0-9"), -1);
  const BootGraph found = graph({.has_boot_loader = true});
  EXPECT_NE(place(found, "/boot/vmlinuz-6.1.0-9"), -1);
  EXPECT_EQ(place(found, "/boot/vmlinuz-5.10.0-20"), -1);
}

TEST_F(BootGraphTest, UnitsThatNameEachOtherEnd) {
  unit("a.service", "[Unit]\nWants=b.service\n[Service]\nExecStart=/usr/sbin/idle\n");
  unit("b.service", "[Unit]\nWants=a.service\n");
  unit("sysinit.target", "[Unit]\nWants=a.service\n");
  EXPECT_NE(place(graph(), "/usr/sbin/idle"), -1);
}

TEST_F(BootGraphTest, LimitsHold) {
  BootGraphOptions few;
  few.reads.files_max = 10;
  EXPECT_LE(graph(few).file_count, 10u);
  BootGraphOptions small;
  small.reads.bytes_max = 8192;
  uint64_t bytes = 0;
  for (const BootRead& read : graph(small).reads)
    bytes += read.is_record || read.file == 0 ? 0 : read.range.length;
  EXPECT_LE(bytes, 8192u);
}

TEST(BootGraph, NeedsAnInit) {
  MemoryFileSystem files;
  files.add_file("/data", "no system");
  EXPECT_EQ(read_boot_graph(files, {}).error().code, ErrorCode::kNotFound);
}

TEST(BootGraph, OtherInitsAreFollowedToo) {
  MemoryFileSystem files;
  files.add_file("/sbin/init", "#!/bin/busybox sh\n");
  files.add_file("/bin/busybox", ElfBuilder{}.build());
  const auto found = read_boot_graph(files, {});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->unit_count, 0u);
  EXPECT_EQ(found->reads.back().range.length, files.info(files.id_of("/bin/busybox"))->size_bytes);
}

TEST(KernelModules, AliasPatterns) {
  EXPECT_TRUE(matches_alias("acpi*:PNP0C0C:*", "acpi:PNP0C0C:"));
  EXPECT_TRUE(matches_alias("pci:v00008086d0000701[0-9]sv*", "pci:v00008086d00007010sv1"));
  EXPECT_FALSE(matches_alias("pci:v00008086d0000701[1-9]sv*", "pci:v00008086d00007010sv1"));
  EXPECT_TRUE(matches_alias("*a*b", "xxaxxabb"));
  EXPECT_FALSE(matches_alias("*a*bc", "xxaxxab"));
  EXPECT_FALSE(matches_alias("[", "["));
  EXPECT_FALSE(matches_alias("", "x"));
  EXPECT_TRUE(matches_alias("*", ""));
}

TEST(KernelModules, VersionsCompareByNumber) {
  EXPECT_TRUE(version_less("5.10.0-20", "6.1.0-9"));
  EXPECT_TRUE(version_less("6.1.0-9", "6.1.0-10"));
  EXPECT_FALSE(version_less("6.1.0-9", "6.1.0-9"));
  EXPECT_TRUE(version_less("6.1.0-9", "6.1.0-9-rt"));
}

}  // namespace
}  // namespace forerun::image
