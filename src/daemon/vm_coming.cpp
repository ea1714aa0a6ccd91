// A VM of another host is taken in: checked, given room, its disk opened and its QEMU started,
// which waits for the guest.
#include <csignal>

#include "core/log.h"
#include "daemon/prefetch_words.h"
#include "daemon/vm_in_manager.h"
#include "daemon/vm_info.h"
#include "os/memory_pressure.h"
#include "os/process.h"
#include "vmm/bridge.h"

namespace forerun::daemon {
namespace {

using Role = vmm::MigrationRecord::Role;

// Returns whether the file at `path` is that one; no file is none.
bool is_file(const std::string& path, const std::string& digest) {
  const auto found = VmManager::boot_file_digest(path);
  return found && *found == digest;
}

}  // namespace

Result<std::vector<uint64_t>> VmManager::make_room_for(const Coming& coming) {
  const std::string& name = coming.record.name;
  if (const auto vm = find(name)) {
    const std::lock_guard lock(vm->mutex);
    FR_CHECK(check_settled(*vm));
    // It was here before, left, and comes back.
    const bool comes_back = !vm->record.moved_to.empty() && !vm->is_removed &&
                            coming.record.ownership >= vm->record.ownership;
    if (!comes_back) return fail(ErrorCode::kExists, fmt::format("there is a VM {} already", name));
    auto made = vm->record.checkpoints.made;
    FR_CHECK(remove(*vm, true));
    return made;
  }
  if (const auto files = os::list_folder(folder(name))) {
    FR_TRY(const auto storage, os::PosixFolder::open(folder(name)));
    for (const std::string& file : *files) FR_CHECK(storage->remove(file));
  }
  return std::vector<uint64_t>();
}

void VmManager::take_up_history(const Coming& coming, const ImageCatalog::Layout& layout) {
  if (coming.history.empty()) return;
  const std::string& name = coming.record.name;
  const auto taken = [&]() -> Result<api::HistoryImportInfo> {
    FR_TRY(const predict::VmHistory history, predict::parse_vm_history(coming.history));
    return parts_.histories.take_up(name, history, &layout, coming.record.tenant);
  }();
  if (!taken) return log::warn("VM {}: its history is left out: {}", name, taken.error().message);
  log::info("VM {}: took up {} models and histories of {} components from host {}", name,
            taken->models_taken.size(), taken->histories_merged, coming.peer);
}

Result<vmm::QemuOptions> VmManager::incoming_options(const Coming& coming,
                                                     const ImageCatalog::Layout& layout) {
  // Of the other host's options those that are the guest's, of the others this host's.
  vmm::QemuOptions options = coming.record.qemu;
  api::RunRequest own;
  own.name = coming.record.name;
  const vmm::QemuOptions here = qemu_options(own);
  if (options.accelerator != accelerator_.accelerator)
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("the VM runs with {}, here is {}", vmm::accelerator_name(options.accelerator),
                    vmm::accelerator_name(accelerator_.accelerator)));
  options.program = here.program;
  options.nbd_socket = here.nbd_socket;
  options.export_name = here.export_name;
  options.qmp_socket = here.qmp_socket;
  options.console_socket = here.console_socket;
  options.console_log = here.console_log;
  if (!options.agent_socket.empty()) options.agent_socket = here.agent_socket;
  if (coming.without_forwards) options.forwards.clear();
  if (!options.bridge.empty()) FR_CHECK(vmm::check_bridge(options.bridge));
  options.start_paused = options.is_incoming = true;
  if (options.kernel.empty()) return options;
  if (is_file(options.kernel, coming.kernel_digest) &&
      (options.initrd.empty() || is_file(options.initrd, coming.initrd_digest)))
    return options;
  api::RunRequest of_disk;
  if (add_kernel(layout, parts_.catalog, parts_.kernels, of_disk) &&
      is_file(of_disk.kernel, coming.kernel_digest) &&
      (options.initrd.empty() || is_file(of_disk.initrd, coming.initrd_digest))) {
    options.kernel = of_disk.kernel;
    options.initrd = options.initrd.empty() ? "" : of_disk.initrd;
    return options;
  }
  return fail(
      ErrorCode::kNotFound,
      fmt::format("its kernel {} and initrd {} are not here, or are others: copy them to the "
                  "same paths",
                  options.kernel, options.initrd.empty() ? "(none)" : options.initrd));
}

Status VmManager::start_coming(Vm& vm) {
  FR_CHECK(os::make_folders(records_folder()));
  FR_CHECK(vmm::save_vm_record(records_folder(), vm.record));
  FR_CHECK(open_disk(vm, false));
  FR_CHECK(start_qemu(vm));
  // A later start of this VM is none that waits.
  vm.record.qemu.start_paused = vm.record.qemu.is_incoming = false;
  return vmm::save_vm_record(records_folder(), vm.record);
}

Result<VmManager::Migrating> VmManager::begin_coming(const Coming& coming) {
  if (is_disk_only(coming.record) || !coming.record.qemu.pmem.empty())
    return fail(ErrorCode::kUnsupported, "such a VM cannot be taken in");
  FR_TRY(const Digest digest, parse_digest(coming.record.image_digest));
  FR_TRY(const auto layout, parts_.catalog.open_digest(digest));
  FR_TRY(vmm::QemuOptions options, incoming_options(coming, *layout));
  if (const auto memory = os::read_memory_pressure();
      memory && memory->available_bytes < options.memory_bytes)
    return fail(ErrorCode::kNoSpace,
                fmt::format("the VM needs {} MiB of memory, {} MiB are available",
                            options.memory_bytes >> 20, memory->available_bytes >> 20));
  FR_TRY(const uint64_t free_bytes, os::free_bytes(parts_.config.state_dir));
  if (free_bytes < coming.disk_bytes)
    return fail(ErrorCode::kNoSpace,
                fmt::format("the VM's own writes take {} MiB, {} has {} MiB left",
                            coming.disk_bytes >> 20, parts_.config.state_dir, free_bytes >> 20));
  FR_TRY(auto checkpoints, make_room_for(coming));
  // Before its disk is opened: then its models begin.
  take_up_history(coming, *layout);
  auto vm = std::make_shared<Vm>();
  vm->record = coming.record;
  vm->record.qemu = std::move(options);
  vm->record.should_run = false;
  vm->record.process = {};
  vm->record.boot_id.clear();
  vm->record.moved_to.clear();
  // Those of the other host stay there; what was here of it before is here still.
  vmm::CheckpointSetting& setting = vm->record.checkpoints;
  setting.made = std::move(checkpoints);
  setting.copied_to.clear();
  // Copies went to this host: from now on they go to the one that it leaves.
  if (!setting.copies_to.empty() && !knows_host(setting.copies_to)) setting.copies_to = coming.peer;
  vm->record.migration = {Role::kTarget, coming.id, coming.peer, false, false};
  vm->state = api::VmState::kIncoming;
  const std::lock_guard lock(vm->mutex);
  {
    const std::lock_guard all(mutex_);
    if (!vms_.emplace(vm->record.name, vm).second)
      return fail(ErrorCode::kExists, fmt::format("there is a VM {} already", vm->record.name));
  }
  if (Status started = start_coming(*vm); !started) {
    if (vm->process) [[maybe_unused]]
      const auto killed = os::send_signal(vm->process->id(), SIGKILL);
    parts_.agents.close(vm->record.name);
    close_disk(*vm);
    if (const Status removed = remove(*vm); !removed)
      log::warn("VM {}: {}", vm->record.name, removed.error().message);
    return std::unexpected(std::move(started.error()));
  }
  return Migrating{vm->record, vm->disk, vm->layout, true, folder(vm->record.name) + "/qemu.log"};
}

}  // namespace forerun::daemon
