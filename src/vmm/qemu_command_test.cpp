#include "vmm/qemu_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/bytes.h"

namespace forerun::vmm {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

QemuOptions plain() {
  QemuOptions options;
  options.name = "web-1";
  options.memory_bytes = 512 * kMiB;
  options.nbd_socket = "/run/f/nbd.sock";
  options.export_name = "web-1";
  options.qmp_socket = "/run/f/web-1.qmp";
  options.console_socket = "/run/f/web-1.console";
  options.console_log = "/var/f/web-1.log";
  return options;
}

std::string joined(const QemuOptions& options) {
  const auto argv = qemu_argv(options);
  return argv ? fmt::format("{}", fmt::join(*argv, " ")) : argv.error().message;
}

Error error_of(const QemuOptions& options) {
  const auto argv = qemu_argv(options);
  return argv ? Error{ErrorCode::kInternal, "accepted"} : argv.error();
}

TEST(QemuCommand, GoldenTcg) {
  EXPECT_EQ(joined(plain()),
            "qemu-system-x86_64 -name guest=web-1,debug-threads=on -no-user-config -nodefaults "
            "-display none "
            "-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny "
            "-accel tcg,thread=multi -cpu max -smp 1 -m 524296K "
            "-chardev socket,id=qmp0,path=/run/f/web-1.qmp,server=on,wait=off "
            "-mon chardev=qmp0,mode=control "
            "-chardev socket,id=ser0,path=/run/f/web-1.console,server=on,wait=off,"
            "logfile=/var/f/web-1.log,logappend=on -serial chardev:ser0 "
            "-blockdev driver=nbd,node-name=disk0,server.type=unix,server.path=/run/f/nbd.sock,"
            "export=web-1,reconnect-delay=3600,open-timeout=30,discard=unmap,detect-zeroes=off,"
            "cache.no-flush=off "
            "-device virtio-blk-pci,drive=disk0,serial=forerun0,bootindex=1,write-cache=on,"
            "werror=report,rerror=report "
            "-netdev user,id=net0 -device virtio-net-pci,netdev=net0,romfile= "
            "-device virtio-rng-pci");
}

TEST(QemuCommand, ABridgeMeansATapDeviceAndAnAddress) {
  QemuOptions options = plain();
  options.bridge = "br0";
  options.mac = "06:00:00:00:00:01";
  EXPECT_THAT(joined(options),
              testing::HasSubstr(fmt::format("-netdev tap,id=net0,ifname={},script=no,"
                                             "downscript=no,vhost=off -device virtio-net-pci,"
                                             "netdev=net0,romfile=,mac=06:00:00:00:00:01",
                                             tap_device("web-1"))));
  EXPECT_EQ(tap_device("web-1").size(), 14u);
  EXPECT_NE(tap_device("web-1"), tap_device("web-2"));
}

TEST(QemuCommand, RefusesANetworkThatCannotBe) {
  const auto refusal = [](std::string bridge, std::string mac) {
    QemuOptions options = plain();
    options.bridge = std::move(bridge);
    options.mac = std::move(mac);
    return error_of(options).message;
  };
  for (const char* bridge : {"../br0", "a-bridge-of-16-by", "-br", "br 0", "br0,script=/x"})
    EXPECT_THAT(refusal(bridge, "06:00:00:00:00:01"), testing::HasSubstr("bridge")) << bridge;
  for (const char* mac :
       {"06:00:00:00:00", "06:00:00:00:00:0g", "06-00-00-00-00-01", "06:00:00:00:00:0A",
        "07:00:00:00:00:01", "0b:00:00:00:00:01", "00:00:00:00:00:00", "06:00:00:00:00:01,x=y"})
    EXPECT_THAT(refusal("", mac), testing::HasSubstr("no address for a network device")) << mac;
  EXPECT_THAT(refusal("br0", ""), testing::HasSubstr("needs an address"));
  QemuOptions both = plain();
  both.bridge = "br0";
  both.mac = "06:00:00:00:00:01";
  both.forwards = {{.host_port = 8080, .guest_port = 80}};
  EXPECT_THAT(error_of(both).message, testing::HasSubstr("user network"));
}

TEST(QemuCommand, GoldenKvmWithKernelNvmeAndForwards) {
  QemuOptions options = plain();
  options.accelerator = Accelerator::kKvm;
  options.cpus = 4;
  options.disk_bus = DiskBus::kNvme;
  options.kernel = "/boot/vmlinuz";
  options.initrd = "/boot/initrd";
  options.append = "console=ttyS0 root=/dev/nvme0n1,x";
  options.forwards = {{"127.0.0.1", 8080, 80}, {"0.0.0.0", 2222, 22}};
  const auto argv = qemu_argv(options);
  ASSERT_TRUE(argv);
  EXPECT_THAT(joined(options), HasSubstr("-accel kvm -cpu host -smp 4 -m 524288K "));
  EXPECT_THAT(*argv, Contains("nvme,drive=disk0,serial=forerun0,bootindex=1"));
  EXPECT_THAT(*argv,
              Contains("user,id=net0,hostfwd=tcp:127.0.0.1:8080-:80,hostfwd=tcp:0.0.0.0:2222-:22"));
  EXPECT_THAT(*argv, Contains("/boot/initrd"));
  EXPECT_THAT(*argv, Contains("console=ttyS0 root=/dev/nvme0n1,x"));  // no option list: unchanged
}

TEST(QemuCommand, TheAgentsPortComesBehindTheOtherDevices) {
  QemuOptions options = plain();
  options.agent_socket = "/run/f/a,b.agent";
  EXPECT_THAT(joined(options),
              HasSubstr("-device virtio-rng-pci -device virtio-serial-pci "
                        "-chardev socket,id=agent0,path=/run/f/a,,b.agent,server=on,wait=off "
                        "-device virtserialport,chardev=agent0,name=org.forerun.agent.0"));
  options.agent_socket = "relative";
  EXPECT_THAT(error_of(options).message, HasSubstr("agent_socket"));
}

TEST(QemuCommand, PmemIsSharedReadOnlyAndHasRoomBehindTheMemory) {
  QemuOptions options = plain();
  options.pmem = {{"libs", "/s/a,b.raw", 64 * kMiB}, {"more", "/s/c.raw", 2 * kMiB}};
  EXPECT_THAT(joined(options), HasSubstr(" -m 524296K,slots=2,maxmem=591880K "));
  const auto argv = qemu_argv(options);
  ASSERT_TRUE(argv);
  EXPECT_THAT(*argv, Contains("memory-backend-file,id=pmem0,mem-path=/s/a,,b.raw,size=67108864,"
                              "share=on,readonly=on"));
  EXPECT_THAT(*argv, Contains("virtio-pmem-pci,memdev=pmem1,id=vpmem1"));
}

TEST(QemuCommand, RefusesPmemThatCannotBeMapped) {
  QemuOptions options = plain();
  const auto refused = [&](uint64_t size_bytes) {
    options.pmem = {{"libs", "/s/a.raw", size_bytes}};
    return error_of(options).message;
  };
  EXPECT_THAT(refused(kMiB), HasSubstr("whole 2 MiB"));
  EXPECT_THAT(refused(0), HasSubstr("whole 2 MiB"));
  EXPECT_EQ(refused(8 * kGiB), "accepted");
  EXPECT_THAT(refused(8 * kGiB + 2 * kMiB), HasSubstr("over a quarter of 512 MiB"));
  options.pmem.assign(kPmemDevicesMax + 1, {"libs", "/s/a.raw", 2 * kMiB});
  EXPECT_THAT(error_of(options).message, HasSubstr("more than 8"));
}

TEST(QemuCommand, NoDiskNoBlockdev) {
  QemuOptions options = plain();
  options.nbd_socket.clear();
  options.export_name.clear();
  options.start_paused = true;
  EXPECT_THAT(joined(options), ::testing::Not(HasSubstr("-blockdev")));
  EXPECT_THAT(joined(options), HasSubstr(" -S "));
}

TEST(QemuCommand, CommasInPathsAreDoubled) {
  QemuOptions options = plain();
  options.nbd_socket = "/run/a,b/nbd.sock";
  options.console_socket = "/run/a,server=off/c";
  EXPECT_THAT(joined(options), HasSubstr("server.path=/run/a,,b/nbd.sock,export="));
  EXPECT_THAT(joined(options), HasSubstr("path=/run/a,,server=off/c,server=on"));
}

TEST(QemuCommand, MemoryUnderTcgIsNeverAMultipleOf256KiB) {
  EXPECT_EQ(memory_kib(192 * kMiB, Accelerator::kTcg), 196616u);
  EXPECT_EQ(memory_kib(192 * kMiB + 8 * kKiB, Accelerator::kTcg), 196616u);
  EXPECT_EQ(memory_kib(192 * kMiB - 1, Accelerator::kTcg), 196616u);
  EXPECT_EQ(memory_kib(192 * kMiB, Accelerator::kKvm), 196608u);
}

TEST(QemuCommand, RefusesHostileNames) {
  for (const char* name : {"", "a,b", "../x", "-S", "a b", "a\nb"}) {
    QemuOptions options = plain();
    options.name = name;
    EXPECT_EQ(error_of(options).code, ErrorCode::kInvalid) << name;
    options = plain();
    options.export_name = name;
    EXPECT_EQ(error_of(options).code, ErrorCode::kInvalid) << name;
  }
}

TEST(QemuCommand, RefusesBadForwards) {
  for (const Forward& forward : {Forward{"localhost", 1, 1}, Forward{"127.0.0.1,x=y", 1, 1},
                                 Forward{"127.0.0.1", 0, 80}, Forward{"127.0.0.1", 80, 0}}) {
    QemuOptions options = plain();
    options.forwards = {forward};
    EXPECT_THAT(error_of(options).message, HasSubstr("forwards"));
  }
  QemuOptions options = plain();
  options.forwards.assign(kForwardsMax + 1, {"127.0.0.1", 1, 1});
  EXPECT_EQ(error_of(options).code, ErrorCode::kTooLarge);
}

TEST(QemuCommand, RefusesWhatIsOutOfRange) {
  QemuOptions options = plain();
  options.memory_bytes = kMemoryBytesMin - 1;
  EXPECT_THAT(error_of(options).message, HasSubstr("memory"));
  options = plain();
  options.cpus = 0;
  EXPECT_THAT(error_of(options).message, HasSubstr("cpus"));
  options = plain();
  options.append = "quiet";
  EXPECT_THAT(error_of(options).message, HasSubstr("need a kernel"));
  options = plain();
  options.kernel = "vmlinuz";
  EXPECT_THAT(error_of(options).message, HasSubstr("absolute"));
  options = plain();
  options.qmp_socket = "/" + std::string(kSocketPathBytesMax, 'a');
  EXPECT_EQ(error_of(options).code, ErrorCode::kTooLarge);
}

}  // namespace
}  // namespace forerun::vmm
