// From what a VM should be to QEMU's arguments. Pure. Known to hold for QEMU 7.2 and later.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "vmm/accelerator.h"

namespace forerun::vmm {

enum class DiskBus : uint8_t { kVirtio, kNvme };

struct Forward {                           // TCP, from the host to the guest
  std::string host_address = "127.0.0.1";  // numeric IPv4
  uint16_t host_port = 0;
  uint16_t guest_port = 0;
  bool operator==(const Forward&) const = default;
};

// A file that the guest sees as persistent memory (virtio-pmem), read-only: all guests that map it
// with DAX share its pages with the host's page cache.
struct PmemDevice {
  std::string image;  // whose bytes these are; for people
  std::string path;
  uint64_t size_bytes = 0;  // the file's: whole kPmemUnit
  bool operator==(const PmemDevice&) const = default;
};

struct QemuOptions {
  std::string program = "qemu-system-x86_64";
  std::string name;
  Accelerator accelerator = Accelerator::kTcg;
  uint64_t memory_bytes = 512ull << 20;
  uint32_t cpus = 1;

  // The disk: an export of an NBD server on a unix socket. Both empty: no disk.
  std::string nbd_socket;
  std::string export_name;
  DiskBus disk_bus = DiskBus::kVirtio;
  // How long requests wait for a server that went away before the guest sees an error: a restart of
  // the daemon must never be an I/O error in a guest, so this is long.
  uint32_t reconnect_delay_seconds = 3600;
  uint32_t open_timeout_seconds = 30;  // of the first connection

  std::vector<PmemDevice> pmem;  // /dev/pmem0, … in this order

  std::string kernel, initrd, append;  // kernel empty: the disk's boot loader
  std::vector<Forward> forwards;
  // The network: a TAP device of its own on a bridge of the host, or, if empty, QEMU's user
  // network, which alone has forwards.
  std::string bridge;
  std::string mac;  // "06:12:…", lower case; needed with a bridge; empty: QEMU's default

  std::string qmp_socket;
  std::string console_socket;
  std::string console_log;
  std::string agent_socket;  // of forerun-agent's virtio-serial port; empty: there is none
  bool start_paused = false;
  bool is_incoming = false;  // waits for a migration; not kept in records
  bool no_reboot = false;    // a guest that reboots ends QEMU

  bool operator==(const QemuOptions&) const = default;
};

inline constexpr uint64_t kMemoryBytesMin = 32ull << 20;
inline constexpr uint64_t kMemoryBytesMax = 4ull << 40;
inline constexpr uint32_t kCpusMax = 255;
inline constexpr size_t kForwardsMax = 64;
inline constexpr size_t kPmemDevicesMax = 8;
// What Linux maps persistent memory by (a subsection, 512 pages); the end of a device that is not
// whole ones is lost to it.
inline constexpr uint64_t kPmemUnit = 2ull << 20;
// The guest's kernel keeps 64 bytes for each page of persistent memory, in its RAM: this much of
// the RAM at most.
inline constexpr double kPmemPagesRatioMax = 0.25;
inline constexpr uint64_t kPmemBytesMax = 512ull
                                          << 30;    // of all devices; TCG's CPU addresses 1 TiB
inline constexpr size_t kAppendBytesMax = 2000;     // Linux' COMMAND_LINE_SIZE is 2048
inline constexpr size_t kSocketPathBytesMax = 107;  // sockaddr_un

// Returns the arguments, argv[0] first. ERRORS: kInvalid, kTooLarge, naming the field.
Result<std::vector<std::string>> qemu_argv(const QemuOptions& options);

// Returns the RAM that is asked of QEMU, in KiB: at least `memory_bytes`. Under TCG never a
// multiple of 256 KiB: QEMU 7.2 then loses guest writes in multi-round pre-copy (its dirty-bitmap
// fast path; repaired upstream by 03bfc2188f), so 8 KiB are added.
uint64_t memory_kib(uint64_t memory_bytes, Accelerator accelerator);

// ERRORS: kInvalid: a name that no bridge can have, an address that no device can have, a bridge
// without an address, or with forwards.
Status check_network(const QemuOptions& options);
// Returns the name of the TAP device of a VM on a bridge: one and the same on every host.
std::string tap_device(std::string_view vm);

// Returns `value` with every comma doubled, as QEMU's option lists want it.
std::string escape_commas(std::string_view value);

}  // namespace forerun::vmm
