// What the manager does for a VM that goes to another host, or comes from there.
#include <csignal>

#include "core/log.h"
#include "daemon/prefetch_words.h"
#include "daemon/vm_in_manager.h"
#include "daemon/vm_info.h"
#include "os/clock.h"
#include "os/memory_pressure.h"
#include "os/process.h"
#include "vmm/bridge.h"

namespace forerun::daemon {
namespace {

using Role = vmm::MigrationRecord::Role;

constexpr size_t kKernelBytesMax = 1 << 30;

// Returns the digest of a file that QEMU is started with; of none, nothing.
Result<std::string> digest_of_file(const std::string& path) {
  if (path.empty()) return std::string();
  FR_TRY(const Buffer bytes, os::read_file(path, kKernelBytesMax));
  return sha256(bytes).hex();
}

// Returns what the record of a VM says once it is the other host's.
vmm::VmRecord given(vmm::VmRecord record, bool is_postcopy) {
  record.migration.is_decided = true;
  record.migration.is_postcopy = is_postcopy;
  record.moved_to = record.migration.peer;
  ++record.ownership;
  record.should_run = false;
  return record;
}

// Returns whether the file at `path` is that one; no file is none.
bool is_file(const std::string& path, const std::string& digest) {
  const auto found = digest_of_file(path);
  return found && *found == digest;
}

}  // namespace

Result<std::string> VmManager::boot_file_digest(const std::string& path) {
  return digest_of_file(path);
}

Status VmManager::check_settled(const Vm& vm) {
  const vmm::MigrationRecord& migration = vm.record.migration;
  if (migration.role == Role::kNone) return {};
  return fail(ErrorCode::kExists,
              fmt::format("VM {} is being migrated {} host {}", vm.record.name,
                          migration.role == Role::kSource ? "to" : "from", migration.peer));
}

void VmManager::add_migration(const Vm& vm, api::VmInfo& info) {
  const vmm::MigrationRecord& migration = vm.record.migration;
  info.peer = migration.role == Role::kNone ? vm.record.moved_to : migration.peer;
  if (!vm.record.moved_to.empty())
    info.state = api::VmState::kMoved;
  else if (migration.role == Role::kSource && info.state == api::VmState::kRunning)
    info.state = api::VmState::kMigrating;
}

Result<std::shared_ptr<VmManager::Vm>> VmManager::find_migrating(const std::string& name,
                                                                 const std::string& id) {
  auto vm = find(name);
  if (!vm) return fail(ErrorCode::kNotFound, fmt::format("no VM {}", name));
  const std::lock_guard lock(vm->mutex);
  if (vm->is_removed || vm->record.migration.role == Role::kNone || vm->record.migration.id != id)
    return fail(ErrorCode::kNotFound, fmt::format("VM {} is in no migration {}", name, id));
  return vm;
}

Result<VmManager::Migrating> VmManager::migrating(const std::string& name, const std::string& id) {
  FR_TRY(const auto vm, find_migrating(name, id));
  const std::lock_guard lock(vm->mutex);
  return Migrating{vm->record, vm->disk, vm->layout, vm->process && vm->process->is_alive(),
                   folder(name) + "/qemu.log"};
}

std::vector<vmm::VmRecord> VmManager::all_migrating() {
  std::vector<vmm::VmRecord> records;
  for (const auto& vm : all()) {
    const std::lock_guard lock(vm->mutex);
    if (vm->record.migration.role != Role::kNone) records.push_back(vm->record);
  }
  return records;
}

std::vector<vmm::VmRecord> VmManager::all_moved() {
  std::vector<vmm::VmRecord> records;
  for (const auto& vm : all()) {
    const std::lock_guard lock(vm->mutex);
    if (!vm->record.moved_to.empty() && !vm->is_removed) records.push_back(vm->record);
  }
  return records;
}

Result<vmm::Forward> VmManager::forward_of(const std::string& name, uint64_t host_port) {
  const auto vm = find(name);
  if (!vm) return fail(ErrorCode::kNotFound, fmt::format("no VM {}", name));
  const std::lock_guard lock(vm->mutex);
  for (const vmm::Forward& forward : vm->record.qemu.forwards)
    if (forward.host_port == host_port) return forward;
  return fail(ErrorCode::kNotFound, fmt::format("VM {} has no port {} forwarded", name, host_port));
}

Result<VmManager::Migrating> VmManager::begin_leaving(const std::string& name,
                                                      const std::string& id,
                                                      const std::string& peer) {
  const auto vm = find(name);
  if (!vm) return fail(ErrorCode::kNotFound, fmt::format("no VM {}", name));
  const std::lock_guard lock(vm->mutex);
  FR_CHECK(check_settled(*vm));
  check_on(*vm);
  if (vm->state != api::VmState::kRunning)
    return fail(ErrorCode::kInvalid, fmt::format("VM {} does not run", name));
  if (is_disk_only(vm->record))
    return fail(ErrorCode::kUnsupported,
                fmt::format("VM {} is a disk only: its hypervisor is not ours to migrate", name));
  if (!vm->record.qemu.pmem.empty())
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("VM {} has persistent memory (--pmem), which cannot be migrated", name));
  if (vm->disk->pull_id() != 0)
    return fail(ErrorCode::kExists,
                fmt::format("the disk of VM {} still comes from the host that it left", name));
  vm->record.migration = {Role::kSource, id, peer, false, false};
  if (auto saved = vmm::save_vm_record(records_folder(), vm->record); !saved) {
    vm->record.migration = {};
    return std::unexpected(std::move(saved.error()));
  }
  return Migrating{vm->record, vm->disk, vm->layout, true, folder(name) + "/qemu.log"};
}

Status VmManager::prepare_to_give(const std::string& name, const std::string& id,
                                  bool is_postcopy) {
  FR_TRY(const auto vm, find_migrating(name, id));
  const std::lock_guard lock(vm->mutex);
  vmm::VmRecord record = given(vm->record, is_postcopy);
  FR_TRY(os::WaitingFile file, os::WaitingFile::write(records_folder(), record.name + ".json",
                                                      as_bytes(vmm::encode_vm_record(record))));
  vm->prepared.emplace(std::move(record), std::move(file));
  return {};
}

Status VmManager::give_away(const std::string& name, const std::string& id, bool is_postcopy) {
  FR_TRY(const auto vm, find_migrating(name, id));
  const std::lock_guard lock(vm->mutex);
  if (vm->record.migration.is_decided) return {};
  vmm::VmRecord record = given(vm->record, is_postcopy);
  const bool is_prepared = vm->prepared && vm->prepared->record == record;
  Status saved =
      is_prepared ? vm->prepared->file.take_place() : vmm::save_vm_record(records_folder(), record);
  vm->prepared.reset();
  FR_CHECK(std::move(saved));
  vm->record = std::move(record);
  log::info("VM {} is host {}'s from now on, as its owner {}", name, vm->record.moved_to,
            vm->record.ownership);
  return {};
}

void VmManager::close_given_disk(const std::string& name, const std::string& id) {
  const auto vm = find_migrating(name, id);
  if (!vm) return;
  const std::lock_guard lock((*vm)->mutex);
  FR_ASSERT((*vm)->record.migration.is_decided);
  close_disk(**vm);
}

Result<VmManager::Migrating> VmManager::take_back(const std::string& name, const std::string& id) {
  FR_TRY(const auto vm, find_migrating(name, id));
  {
    const std::lock_guard lock(vm->mutex);
    if (!vm->record.migration.is_decided)
      return Migrating{vm->record, vm->disk, vm->layout, true, {}};
    vmm::VmRecord record = vm->record;
    record.migration.is_decided = record.migration.is_postcopy = false;
    record.moved_to.clear();
    ++record.ownership;
    record.should_run = true;
    FR_CHECK(vmm::save_vm_record(records_folder(), record));
    vm->record = std::move(record);
    vm->disk.reset();
    FR_CHECK(open_disk(*vm, false));
    log::info("VM {} is ours again, as its owner {}", name, vm->record.ownership);
  }
  return migrating(name, id);
}

Result<VmManager::Migrating> VmManager::open_given_disk(const std::string& name,
                                                        const std::string& id) {
  FR_TRY(const auto vm, find_migrating(name, id));
  {
    const std::lock_guard lock(vm->mutex);
    if (!vm->disk) {
      FR_TRY(vm->disk, make_disk(*vm, false));
    }
  }
  return migrating(name, id);
}

Status VmManager::stay(const std::string& name, const std::string& id, std::string detail) {
  FR_TRY(const auto vm, find_migrating(name, id));
  const std::lock_guard lock(vm->mutex);
  FR_ASSERT(!vm->record.migration.is_decided);
  vm->prepared.reset();
  vm->record.migration = {};
  if (!detail.empty()) vm->detail = std::move(detail);
  return vmm::save_vm_record(records_folder(), vm->record);
}

Status VmManager::kill(Vm& vm) {
  if (!vm.process) return {};
  if (os::send_signal(vm.process->id(), SIGKILL)) os::wait_for_end(vm.process->id(), 5s);
  if (vm.process->is_alive())
    return fail(ErrorCode::kTimedOut,
                fmt::format("QEMU of VM {} outlives SIGKILL", vm.record.name));
  vm.process.reset();
  return {};
}

std::string VmManager::lost_words(const vmm::VmRecord& record) {
  return fmt::format(
      "its guest is lost: QEMU ended, here or at host {}, before all of its memory was here; start "
      "it again, and the rest of its disk comes from there",
      record.migration.peer);
}

Status VmManager::end_leaving(const std::string& name, const std::string& id) {
  FR_TRY(const auto vm, find_migrating(name, id));
  const std::lock_guard lock(vm->mutex);
  FR_CHECK(kill(*vm));
  vm->disk.reset();
  parts_.agents.close(name);
  if (vm->layout) parts_.launches.on_stop(vm->record.image, *vm->layout);
  FR_TRY(const auto storage, os::PosixFolder::open(folder(name)));
  FR_TRY(const auto files, os::list_folder(folder(name)));
  for (const std::string& file : files)
    if (file.starts_with("overlay")) FR_CHECK(storage->remove(file));
  vm->state = api::VmState::kStopped;
  vm->detail = fmt::format("moved to host {}", vm->record.moved_to);
  vm->record.process = {};
  vm->record.migration = {};
  return vmm::save_vm_record(records_folder(), vm->record);
}

Status VmManager::make_room_for(const Coming& coming) {
  const std::string& name = coming.record.name;
  if (const auto vm = find(name)) {
    const std::lock_guard lock(vm->mutex);
    FR_CHECK(check_settled(*vm));
    // It was here before, left, and comes back.
    const bool comes_back = !vm->record.moved_to.empty() && !vm->is_removed &&
                            coming.record.ownership >= vm->record.ownership;
    if (!comes_back) return fail(ErrorCode::kExists, fmt::format("there is a VM {} already", name));
    return remove(*vm);
  }
  if (const auto files = os::list_folder(folder(name))) {
    FR_TRY(const auto storage, os::PosixFolder::open(folder(name)));
    for (const std::string& file : *files) FR_CHECK(storage->remove(file));
  }
  return {};
}

Result<Buffer> VmManager::history_of(const std::string& name) {
  FR_TRY(const Known known, look_up(name));
  if (known.disk) parts_.histories.save(known.id);
  const predict::VmHistory history = parts_.histories.known(name, *known.layout, known.tenant);
  if (history.parts.empty() && history.models.models.empty()) return Buffer();
  return predict::serialize(history);
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
  FR_CHECK(make_room_for(coming));
  // Before its disk is opened: then its models begin.
  take_up_history(coming, *layout);
  auto vm = std::make_shared<Vm>();
  vm->record = coming.record;
  vm->record.qemu = std::move(options);
  vm->record.should_run = false;
  vm->record.process = {};
  vm->record.boot_id.clear();
  vm->record.moved_to.clear();
  vm->record.checkpoints.made.clear();  // those are at the other host
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

Status VmManager::take_over(const std::string& name, const std::string& id, uint64_t ownership,
                            bool is_postcopy) {
  FR_TRY(const auto vm, find_migrating(name, id));
  const std::lock_guard lock(vm->mutex);
  if (vm->record.migration.is_decided) return {};
  if (ownership <= vm->record.ownership)
    return fail(ErrorCode::kDenied, fmt::format("VM {} is given to owner {}, but has had owner {}",
                                                name, ownership, vm->record.ownership));
  vmm::VmRecord record = vm->record;
  record.migration.is_decided = true;
  record.migration.is_postcopy = is_postcopy;
  record.ownership = ownership;
  record.should_run = true;
  record.started_unix_seconds = os::unix_seconds();
  FR_CHECK(vmm::save_vm_record(records_folder(), record));
  vm->record = std::move(record);
  vm->state = api::VmState::kRunning;
  vm->detail.clear();
  return {};
}

Status VmManager::return_coming(const std::string& name, const std::string& id) {
  FR_TRY(const auto vm, find_migrating(name, id));
  const std::lock_guard lock(vm->mutex);
  FR_CHECK(kill(*vm));
  vmm::VmRecord record = vm->record;
  record.migration.is_decided = record.migration.is_postcopy = false;
  record.should_run = false;
  FR_CHECK(vmm::save_vm_record(records_folder(), record));
  vm->record = std::move(record);
  vm->state = api::VmState::kIncoming;
  return {};
}

Status VmManager::note_memory(const std::string& name, const std::string& id) {
  FR_TRY(const auto vm, find_migrating(name, id));
  const std::lock_guard lock(vm->mutex);
  if (!vm->record.migration.is_postcopy) return {};
  vm->record.migration.is_postcopy = false;
  return vmm::save_vm_record(records_folder(), vm->record);
}

Status VmManager::end_lost(const std::string& name, const std::string& id) {
  FR_TRY(const auto vm, find_migrating(name, id));
  const std::lock_guard lock(vm->mutex);
  FR_CHECK(kill(*vm));
  vm->detail = lost_words(vm->record);
  vm->record.migration.is_postcopy = false;
  return note_end(*vm);
}

void VmManager::set_migration_detail(const std::string& name, const std::string& id,
                                     std::string detail) {
  const auto vm = find_migrating(name, id);
  if (!vm) return;
  const std::lock_guard lock((*vm)->mutex);
  if ((*vm)->state != api::VmState::kStopped) (*vm)->detail = std::move(detail);
}

Status VmManager::end_coming(const std::string& name, const std::string& id) {
  FR_TRY(const auto vm, find_migrating(name, id));
  const std::lock_guard lock(vm->mutex);
  vm->record.migration = {};
  return vmm::save_vm_record(records_folder(), vm->record);
}

Status VmManager::drop_coming(const std::string& name, const std::string& id) {
  FR_TRY(const auto vm, find_migrating(name, id));
  const std::lock_guard lock(vm->mutex);
  FR_ASSERT(!vm->record.migration.is_decided);
  FR_CHECK(kill(*vm));
  parts_.agents.close(name);
  close_disk(*vm);
  return remove(*vm);
}

std::optional<bool> VmManager::was_given_away(const std::string& name, const std::string& id,
                                              const std::string& peer) {
  const auto vm = find(name);
  if (!vm) return false;
  const std::lock_guard lock(vm->mutex);
  const vmm::MigrationRecord& migration = vm->record.migration;
  if (migration.role == Role::kSource && migration.id == id && !migration.is_decided)
    return std::nullopt;
  return vm->record.moved_to == peer;
}

Result<bool> VmManager::is_owner(const std::string& name, uint64_t ownership) {
  const auto vm = find(name);
  if (!vm) return fail(ErrorCode::kNotFound, fmt::format("no VM {}", name));
  const std::lock_guard lock(vm->mutex);
  if (vm->record.ownership == ownership && vm->record.moved_to.empty()) return true;
  return fail(ErrorCode::kDenied,
              fmt::format("VM {} has owner {}, not {}", name, vm->record.ownership, ownership));
}

Result<bool> VmManager::recover_migrating(Vm& vm) {
  const vmm::MigrationRecord& migration = vm.record.migration;
  if ((migration.role == Role::kTarget) == migration.is_decided) return false;
  if (vm.record.boot_id == boot_id_ && os::is_alive(vm.record.process))
    vm.process = vmm::VmProcess::of(vm.record.process, vm.record.qemu.qmp_socket);
  if (migration.role == Role::kSource) {
    // The other host may still read of it.
    FR_TRY(vm.disk, make_disk(vm, false));
    return true;
  }
  vm.state = api::VmState::kIncoming;
  if (!vm.process) return true;
  FR_CHECK(open_disk(vm, false));
  parts_.agents.open(vm.record.name, vm.id, vm.record.qemu.agent_socket, vm.record.profile);
  return true;
}

}  // namespace forerun::daemon
