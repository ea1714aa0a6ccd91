// What the manager does for a VM that goes to another host, or comes from there.
#include <csignal>

#include "core/log.h"
#include "daemon/prefetch_words.h"
#include "daemon/vm_in_manager.h"
#include "daemon/vm_info.h"
#include "os/clock.h"
#include "os/process.h"

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

Result<Buffer> VmManager::history_of(const std::string& name) {
  FR_TRY(const Known known, look_up(name));
  if (known.disk) parts_.histories.save(known.id);
  const predict::VmHistory history = parts_.histories.known(name, *known.layout, known.tenant);
  if (history.parts.empty() && history.models.models.empty()) return Buffer();
  return predict::serialize(history);
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
  const std::string peer = std::exchange(vm->record.migration, {}).peer;
  // Of a VM that is here itself.
  forget_copies(name, peer);
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
