#include "vmm/qemu_command.h"

#include <arpa/inet.h>

#include "core/bytes.h"
#include "core/id.h"
#include "vmm/recovery_monitor.h"

namespace forerun::vmm {
namespace {

using Argv = std::vector<std::string>;

void add(Argv& argv, std::string option, std::string value) {
  argv.push_back(std::move(option));
  argv.push_back(std::move(value));
}

Status check_path(std::string_view field, const std::string& path, size_t bytes_max) {
  if (!path.starts_with('/')) {
    return fail(ErrorCode::kInvalid,
                fmt::format("{} must be an absolute path, not '{}'", field, path));
  }
  if (path.size() > bytes_max) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("{} is longer than {} bytes: '{}'", field, bytes_max, path));
  }
  if (path.find('\0') != std::string::npos) {
    return fail(ErrorCode::kInvalid, fmt::format("{} holds a zero byte", field));
  }
  return {};
}

Status check_forwards(const std::vector<Forward>& forwards) {
  if (forwards.size() > kForwardsMax) {
    return fail(ErrorCode::kTooLarge, fmt::format("forwards: more than {}", kForwardsMax));
  }
  for (const Forward& forward : forwards) {
    in_addr address{};
    if (inet_pton(AF_INET, forward.host_address.c_str(), &address) != 1) {
      return fail(ErrorCode::kInvalid, fmt::format("forwards: '{}' is not a numeric IPv4 address",
                                                   forward.host_address));
    }
    if (forward.host_port == 0 || forward.guest_port == 0) {
      return fail(ErrorCode::kInvalid, "forwards: a port must be 1 to 65535");
    }
  }
  return {};
}

bool is_mac(std::string_view text) {
  constexpr size_t kMacBytes = 17;
  if (text.size() != kMacBytes) return false;
  for (size_t i = 0; i < kMacBytes; ++i) {
    const char c = text[i];
    const bool is_digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    if (i % 3 == 2 ? c != ':' : !is_digit) return false;
  }
  const bool is_group = (text[1] <= '9' ? text[1] - '0' : text[1] - 'a' + 10) % 2 != 0;
  return !is_group && text != "00:00:00:00:00:00";
}

Status check_boot(const QemuOptions& options) {
  constexpr size_t kPathBytesMax = 4095;
  if (options.kernel.empty()) {
    if (!options.initrd.empty() || !options.append.empty()) {
      return fail(ErrorCode::kInvalid, "initrd and append need a kernel");
    }
    return {};
  }
  FR_CHECK(check_path("kernel", options.kernel, kPathBytesMax));
  if (!options.initrd.empty()) FR_CHECK(check_path("initrd", options.initrd, kPathBytesMax));
  if (options.append.size() > kAppendBytesMax) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("append is longer than {} bytes", kAppendBytesMax));
  }
  if (options.append.find('\0') != std::string::npos) {
    return fail(ErrorCode::kInvalid, "append holds a zero byte");
  }
  return {};
}

Status check_pmem(const QemuOptions& options) {
  if (options.pmem.size() > kPmemDevicesMax) {
    return fail(ErrorCode::kTooLarge, fmt::format("pmem: more than {} images", kPmemDevicesMax));
  }
  uint64_t bytes = 0;
  for (const PmemDevice& device : options.pmem) {
    FR_CHECK(check_path("pmem", device.path, 4095));
    if (device.size_bytes == 0 || device.size_bytes % kPmemUnit != 0 ||
        device.size_bytes > kPmemBytesMax) {
      return fail(ErrorCode::kInvalid,
                  fmt::format("pmem: {} has {} bytes; it takes whole 2 MiB, 512 GiB at most",
                              device.path, device.size_bytes));
    }
    bytes += device.size_bytes;
  }
  if (bytes > kPmemBytesMax) {
    return fail(ErrorCode::kTooLarge, "pmem: the images have over 512 GiB together");
  }
  const uint64_t pages_bytes = bytes / 64;  // 64 bytes for each page of 4096
  if (static_cast<double>(pages_bytes) >
      static_cast<double>(options.memory_bytes) * kPmemPagesRatioMax) {
    return fail(ErrorCode::kInvalid,
                fmt::format("pmem: to map {} MiB of images the guest's kernel needs {} MiB of its "
                            "memory, over a quarter of {} MiB: give it more memory, or use images "
                            "of smaller disks",
                            bytes >> 20, pages_bytes >> 20, options.memory_bytes >> 20));
  }
  return {};
}

Status check(const QemuOptions& options) {
  if (!is_valid_name(options.name)) {
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is no name for a VM", options.name));
  }
  if (options.memory_bytes < kMemoryBytesMin || options.memory_bytes > kMemoryBytesMax) {
    return fail(ErrorCode::kInvalid, "memory must be 32 MiB to 4 TiB");
  }
  if (options.cpus == 0 || options.cpus > kCpusMax) {
    return fail(ErrorCode::kInvalid, fmt::format("cpus must be 1 to {}", kCpusMax));
  }
  FR_CHECK(check_path("qmp_socket", options.qmp_socket, kSocketPathBytesMax));
  FR_CHECK(check_path("console_socket", options.console_socket, kSocketPathBytesMax));
  FR_CHECK(check_path("console_log", options.console_log, 4095));
  if (!options.agent_socket.empty())
    FR_CHECK(check_path("agent_socket", options.agent_socket, kSocketPathBytesMax));
  if (!options.nbd_socket.empty() || !options.export_name.empty()) {
    FR_CHECK(check_path("nbd_socket", options.nbd_socket, kSocketPathBytesMax));
    if (!is_valid_name(options.export_name)) {
      return fail(ErrorCode::kInvalid,
                  fmt::format("'{}' is no name for an export", options.export_name));
    }
  }
  FR_CHECK(check_boot(options));
  FR_CHECK(check_pmem(options));
  FR_CHECK(check_network(options));
  return check_forwards(options.forwards);
}

void add_disk(Argv& argv, const QemuOptions& options) {
  if (options.nbd_socket.empty()) return;
  // cache.no-flush=off is the default, said aloud: a guest's flush must reach the export.
  // reconnect-delay holds requests while the server restarts; open-timeout retries the first
  // connection.
  add(argv, "-blockdev",
      fmt::format(
          "driver=nbd,node-name=disk0,server.type=unix,server.path={},export={},"
          "reconnect-delay={},open-timeout={},discard=unmap,detect-zeroes=off,cache.no-flush=off",
          escape_commas(options.nbd_socket), options.export_name, options.reconnect_delay_seconds,
          options.open_timeout_seconds));
  if (options.disk_bus == DiskBus::kNvme) {
    add(argv, "-device", "nvme,drive=disk0,serial=forerun0,bootindex=1");
  } else {
    add(argv, "-device",
        "virtio-blk-pci,drive=disk0,serial=forerun0,bootindex=1,write-cache=on,"
        "werror=report,rerror=report");
  }
}

// Guest RAM, and room for persistent memory behind it: QEMU wants to be told beforehand how much.
void add_memory(Argv& argv, const QemuOptions& options) {
  const uint64_t ram_kib = memory_kib(options.memory_bytes, options.accelerator);
  std::string value = fmt::format("{}K", ram_kib);
  if (!options.pmem.empty()) {
    uint64_t max_kib = ram_kib;
    for (const PmemDevice& device : options.pmem) max_kib += device.size_bytes / kKiB;
    value += fmt::format(",slots={},maxmem={}K", options.pmem.size(), max_kib);
  }
  add(argv, "-m", std::move(value));
}

// Shared, so that guests and the page cache have one copy; read-only, so that none changes it. The
// guest is not told (virtio-pmem cannot say so): what it writes is lost, so it has to mount
// read-only.
void add_pmem(Argv& argv, const QemuOptions& options) {
  for (size_t i = 0; i < options.pmem.size(); ++i) {
    const PmemDevice& device = options.pmem[i];
    add(argv, "-object",
        fmt::format("memory-backend-file,id=pmem{},mem-path={},size={},share=on,readonly=on", i,
                    escape_commas(device.path), device.size_bytes));
    add(argv, "-device", fmt::format("virtio-pmem-pci,memdev=pmem{0},id=vpmem{0}", i));
  }
}

void add_network(Argv& argv, const QemuOptions& options) {
  std::string device = "virtio-net-pci,netdev=net0,romfile=";
  if (!options.mac.empty()) device += ",mac=" + options.mac;
  if (!options.bridge.empty()) {
    // QEMU makes the device, so that it goes with it; attach_to_bridge puts it on the bridge.
    add(argv, "-netdev",
        fmt::format("tap,id=net0,ifname={},script=no,downscript=no,vhost=off",
                    tap_device(options.name)));
    return add(argv, "-device", std::move(device));
  }
  std::string value = "user,id=net0";
  for (const Forward& forward : options.forwards) {
    value += fmt::format(",hostfwd=tcp:{}:{}-:{}", forward.host_address, forward.host_port,
                         forward.guest_port);
  }
  add(argv, "-netdev", std::move(value));
  add(argv, "-device", std::move(device));
}

void add_agent(Argv& argv, const QemuOptions& options) {
  if (options.agent_socket.empty()) return;
  add(argv, "-device", "virtio-serial-pci");
  add(argv, "-chardev",
      fmt::format("socket,id=agent0,path={},server=on,wait=off",
                  escape_commas(options.agent_socket)));
  add(argv, "-device", "virtserialport,chardev=agent0,name=org.forerun.agent.0");
}

void add_incoming(Argv& argv, const QemuOptions& options) {
  add(argv, "-incoming", "defer");
  add(argv, "-chardev",
      fmt::format("pipe,id=recover0,path={}",
                  escape_commas(recovery_monitor_path(options.qmp_socket))));
  add(argv, "-mon", "chardev=recover0,mode=control");
}

void add_boot(Argv& argv, const QemuOptions& options) {
  if (options.kernel.empty()) return;
  add(argv, "-kernel", options.kernel);
  if (!options.initrd.empty()) add(argv, "-initrd", options.initrd);
  if (!options.append.empty()) add(argv, "-append", options.append);
}

}  // namespace

uint64_t memory_kib(uint64_t memory_bytes, Accelerator accelerator) {
  const uint64_t kib = round_up(memory_bytes, 8 * kKiB) / kKiB;  // QEMU wants multiples of 8 KiB
  return accelerator == Accelerator::kTcg && kib % 256 == 0 ? kib + 8 : kib;
}

std::string tap_device(std::string_view vm) {
  // At most 15 bytes, which not every VM's name fits in.
  return "vm" + sha256(as_bytes(vm)).short_hex();
}

Status check_network(const QemuOptions& options) {
  constexpr size_t kDeviceNameBytesMax = 15;  // IFNAMSIZ without its zero
  if (!options.mac.empty() && !is_mac(options.mac))
    return fail(ErrorCode::kInvalid,
                fmt::format("'{}' is no address for a network device: six pairs of lower-case hex "
                            "digits with colons, the first even, not all zero",
                            options.mac));
  if (options.bridge.empty()) return {};
  if (!is_valid_name(options.bridge) || options.bridge.size() > kDeviceNameBytesMax)
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is no name for a bridge", options.bridge));
  if (options.mac.empty())
    return fail(ErrorCode::kInvalid, "a VM on a bridge needs an address (mac)");
  if (!options.forwards.empty())
    return fail(ErrorCode::kInvalid,
                "forwards are of the user network: a VM on a bridge has an address of its own");
  return {};
}

std::string escape_commas(std::string_view value) {
  std::string escaped;
  for (const char c : value) {
    escaped += c;
    if (c == ',') escaped += ',';
  }
  return escaped;
}

Result<std::vector<std::string>> qemu_argv(const QemuOptions& options) {
  FR_CHECK(check(options));
  Argv argv{options.program};
  add(argv, "-name", fmt::format("guest={},debug-threads=on", options.name));
  argv.insert(argv.end(), {"-no-user-config", "-nodefaults", "-display", "none"});
  // What a guest that escapes into QEMU may still ask of the host: no new programs, no more rights.
  add(argv, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
  const bool kvm = options.accelerator == Accelerator::kKvm;
  add(argv, "-accel", kvm ? "kvm" : "tcg,thread=multi");
  add(argv, "-cpu", kvm ? "host" : "max");
  add(argv, "-smp", fmt::to_string(options.cpus));
  add_memory(argv, options);
  if (options.start_paused) argv.emplace_back("-S");
  if (options.is_incoming) add_incoming(argv, options);
  if (options.no_reboot) argv.emplace_back("-no-reboot");
  add(argv, "-chardev",
      fmt::format("socket,id=qmp0,path={},server=on,wait=off", escape_commas(options.qmp_socket)));
  add(argv, "-mon", "chardev=qmp0,mode=control");
  add(argv, "-chardev",
      fmt::format("socket,id=ser0,path={},server=on,wait=off,logfile={},logappend=on",
                  escape_commas(options.console_socket), escape_commas(options.console_log)));
  add(argv, "-serial", "chardev:ser0");
  add_disk(argv, options);
  add_pmem(argv, options);
  add_network(argv, options);
  add(argv, "-device", "virtio-rng-pci");
  add_agent(argv, options);  // last: the other devices keep the slots that they had without it
  add_boot(argv, options);
  return argv;
}

}  // namespace forerun::vmm
