// What is asked of a VM while it is there, and how its use is watched.
#include "daemon/vm_in_manager.h"
#include "daemon/vm_info.h"

namespace forerun::daemon {

Result<api::VmProfile> VmManager::set_profile(const std::string& name,
                                              const telemetry::Control& asked) {
  const auto vm = find(name);
  if (!vm) return fail(ErrorCode::kNotFound, fmt::format("no VM {}", name));
  const std::lock_guard lock(vm->mutex);
  if (is_disk_only(vm->record))
    return fail(ErrorCode::kUnsupported,
                fmt::format("VM {} is a disk only: no agent of it can be asked", name));
  const telemetry::Control before = vm->record.profile;
  vm->record.profile.update(asked);
  if (auto saved = vmm::save_vm_record(records_folder(), vm->record); !saved) {
    vm->record.profile = before;
    return std::unexpected(std::move(saved.error()));
  }
  parts_.agents.ask(name, vm->record.profile);
  return parts_.agents.profile(name);
}

Result<api::VmInfo> VmManager::set_share(const std::string& name, const api::ShareRequest& asked) {
  const auto vm = find(name);
  if (!vm) return fail(ErrorCode::kNotFound, fmt::format("no VM {}", name));
  const std::lock_guard lock(vm->mutex);
  const iosched::Share before = vm->record.share;
  iosched::Share share = before;
  share.weight = asked.weight.value_or(share.weight);
  share.reserved_bytes_per_s = asked.reserved_bytes_per_s.value_or(share.reserved_bytes_per_s);
  share.limit_bytes_per_s = asked.limit_bytes_per_s.value_or(share.limit_bytes_per_s);
  FR_CHECK(iosched::check(share));
  vm->record.share = share;
  if (auto saved = vmm::save_vm_record(records_folder(), vm->record); !saved) {
    vm->record.share = before;
    return std::unexpected(std::move(saved.error()));
  }
  if (vm->disk) {
    parts_.fetches.set_share(vm->id, share);
    parts_.gate.set_share(vm->id, {.weight = share.weight});
  }
  return info(*vm);
}

std::vector<WatchedVm> VmManager::watched() {
  std::vector<WatchedVm> watched;
  for (const auto& vm : all()) {
    // One that is being started or stopped is not waited for.
    const std::unique_lock lock(vm->mutex, std::try_to_lock);
    if (!lock || vm->state != api::VmState::kRunning || !vm->disk) continue;
    const auto stats = vm->disk->figures().stats;
    watched.push_back({vm->record.name, vm->process ? vm->process->id().pid : 0, stats.read_bytes,
                       stats.written_bytes, stats.stall_seconds});
  }
  return watched;
}

}  // namespace forerun::daemon
