// What outlives the daemon about a VM: one JSON file each, from which a restarted daemon finds its
// VMs again. Written atomically; read with suspicion.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "iosched/shares.h"
#include "os/process.h"
#include "telemetry/control.h"
#include "vmm/qemu_command.h"

namespace forerun::vmm {

// A migration that is under way, as its two sides remember it. The source's word decides: from
// is_decided on the VM is the target's, whatever happens, and this host never lets it run again.
struct MigrationRecord {
  enum class Role : uint8_t { kNone, kSource, kTarget };
  Role role = Role::kNone;   // kNone: there is none
  std::string id;            // the same on both sides
  std::string peer;          // the other host
  bool is_decided = false;   // source: the VM is the peer's; target: it is ours
  bool is_postcopy = false;  // the peer's QEMU still needs memory of ours, or ours of the peer's
  bool operator==(const MigrationRecord&) const = default;
};

// Checkpoints that are made by themselves.
struct CheckpointSetting {
  bool is_auto = false;
  double budget_ratio = 0.02;          // of time, that they may take
  uint64_t keep = 3;                   // so many; older ones go
  std::vector<uint64_t> made;          // the numbers of those that are kept, oldest first
  std::string copies_to;               // the host that is to keep a copy of the newest; empty: none
  std::vector<std::string> copied_to;  // hosts that keep a copy of one
  bool operator==(const CheckpointSetting&) const = default;
};

struct VmRecord {
  std::string name;
  std::string image;
  std::string image_digest;     // 64 hex digits, or empty
  std::string tenant;           // whose it is; empty: nobody said
  std::string prefetch = "on";  // on, observe, off
  telemetry::Control profile;   // what its agent is asked for; nothing: as the agent likes
  uint64_t disk_bytes = 0;      // of its disk, if larger than the image; 0: as that
  iosched::Share share;         // of each link
  CheckpointSetting checkpoints;
  bool should_run = false;  // started and not asked to stop
  std::string boot_id;      // the host boot in which `process` is meaningful
  os::ProcessId process{};
  int64_t created_unix_seconds = 0;
  int64_t started_unix_seconds = 0;
  // Counts the VM's owners: who has the highest runs it. A host that gave it away keeps the
  // new owner's.
  uint64_t ownership = 1;
  std::string moved_to;  // the host that has it now; empty: this one
  MigrationRecord migration;
  QemuOptions qemu;

  bool operator==(const VmRecord&) const = default;
};

inline constexpr int kVmRecordVersion = 1;
inline constexpr size_t kVmRecordBytesMax = 1 << 20;

std::string encode_vm_record(const VmRecord& record);
// ERRORS: kCorrupt, naming the member that is missing or of a wrong type; kUnsupported for another
// version.
Result<VmRecord> decode_vm_record(std::string_view text);

// Writes `folder`/NAME.json. ERRORS: kInvalid (name), kIo, kNoSpace.
Status save_vm_record(const std::string& folder, const VmRecord& record);
Result<VmRecord> load_vm_record(const std::string& folder, const std::string& name);
Status remove_vm_record(const std::string& folder, const std::string& name);
// Returns the names of all records in `folder`, sorted.
Result<std::vector<std::string>> list_vm_records(const std::string& folder);

}  // namespace forerun::vmm
