// What the manager does for checkpoints of a VM.
#include <csignal>

#include "core/log.h"
#include "daemon/checkpoint_disk.h"
#include "daemon/checkpoint_qemu.h"
#include "daemon/vm_in_manager.h"
#include "daemon/vm_info.h"
#include "os/clock.h"

namespace forerun::daemon {
namespace {

constexpr std::string_view kMakingFile = "checkpoint.making";      // the guest may stand still
constexpr std::string_view kRestoringFile = "restore.checkpoint";  // the disk is of no use

api::CheckpointInfo describe(const disk::CheckpointIndex& index) {
  api::CheckpointInfo info{.vm = index.vm,
                           .number = index.number,
                           .created_unix_seconds = index.created_unix_seconds,
                           .stored_bytes = index.stored_bytes,
                           .pause_us = index.pause_us};
  for (const auto& memory : index.memory) info.memory_bytes += memory.used_bytes;
  for (const auto& part : index.parts) info.disk_bytes += part.chunk.size;
  return info;
}

// Removes a file when it goes.
class TemporaryFile {
 public:
  explicit TemporaryFile(std::string path) : path_(std::move(path)) {}
  ~TemporaryFile() { std::remove(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

 private:
  const std::string path_;
};

}  // namespace

Result<CheckpointStore*> VmManager::checkpoint_store() {
  const std::lock_guard lock(checkpoints_mutex_);
  if (!checkpoints_) {
    FR_TRY(checkpoints_, CheckpointStore::open(parts_.config.state_dir + "/checkpoints"));
  }
  return checkpoints_.get();
}

Result<api::CheckpointInfo> VmManager::checkpoint(const std::string& name) {
  const auto vm = find(name);
  if (!vm) return fail(ErrorCode::kNotFound, fmt::format("no VM {}", name));
  FR_TRY(CheckpointStore* const store, checkpoint_store());
  const std::lock_guard lock(vm->mutex);
  FR_CHECK(check_settled(*vm));
  if (vm->state != api::VmState::kRunning || !vm->process)
    return fail(ErrorCode::kInvalid, fmt::format("VM {} does not run here", name));
  if (vm->disk->pull_id() != 0)
    return fail(ErrorCode::kUnavailable,
                fmt::format("the disk of VM {} is still being pulled from another host", name));
  if (!vm->record.qemu.pmem.empty())
    return fail(ErrorCode::kUnsupported, "a VM with persistent memory has no checkpoints");
  const auto held = store->hold();
  const std::string making = fmt::format("{}/{}", folder(name), kMakingFile);
  FR_CHECK(os::write_file_atomic(making, {}));
  auto index = make_checkpoint(*vm, *store);
  std::remove(making.c_str());
  if (!index)
    return std::unexpected(
        std::move(index.error()).within(fmt::format("cannot make a checkpoint of VM {}", name)));
  log::info("VM {}: checkpoint {}, {} KiB stored, paused for {} ms", name, index->number,
            index->stored_bytes >> 10, index->pause_us / 1000);
  return describe(*index);
}

Result<disk::CheckpointIndex> VmManager::make_checkpoint(Vm& vm, CheckpointStore& store) {
  const std::string& name = vm.record.name;
  FR_TRY(const auto numbers, store.list(name));
  disk::Overlay& overlay = *vm.disk->overlay();
  disk::WriteTracker& written = *vm.disk->written();
  disk::CheckpointIndex index;
  index.vm = name;
  index.number = numbers.empty() ? 1 : numbers.back() + 1;
  index.created_unix_seconds = os::unix_seconds();
  index.record = vmm::encode_vm_record(vm.record);
  index.disk_bytes = vm.disk->size_bytes();
  FR_TRY(index.base, parse_digest(vm.record.image_digest));

  // Of what was not written since the last one, that one tells where it is.
  DiskParts parts;
  std::vector<uint64_t> changed = written.take();
  const uint64_t known = std::exchange(vm.disk->checkpoint_known(), 0);
  if (known != 0 && !numbers.empty() && numbers.back() == known) {
    FR_TRY(const auto last, store.load(name, known));
    for (const auto& part : last.parts) parts.emplace(part.number, part.chunk);
  } else {
    changed.clear();
    for (uint64_t i = 0; i * disk::WriteTracker::kPartBytes < index.disk_bytes; ++i)
      changed.push_back(i);
  }

  const TemporaryFile spool_file(store.temporary_path(name));
  FR_TRY(const auto file,
         os::PosixFile::open(store.temporary_path(name), os::PosixFile::Mode::kCreate));
  FR_CHECK(file->resize(0));
  MemorySpool spool(*file);
  const std::string socket = folder(name) + "/checkpoint.sock";
  const TemporaryFile socket_file(socket);
  {
    FR_TRY(const auto save, QemuSave::begin(vm.record.qemu.qmp_socket, socket, spool));
    // While the guest runs: most of what has to be stored of its disk.
    FR_CHECK(store_parts(overlay, index.disk_bytes, changed, store, parts, index.stored_bytes,
                         iosched::IoClass::kBackground));
    FR_CHECK(save->finish());
    // It stands still, and so does its disk.
    FR_CHECK(store_parts(overlay, index.disk_bytes, written.take(), store, parts,
                         index.stored_bytes, iosched::IoClass::kCritical));
    index.runs = overlay.runs();
    FR_CHECK(save->resume());
    index.pause_us = save->pause_us();
    FR_CHECK(spool.store(save->section(), store, index));
  }
  for (const auto& [number, chunk] : parts) index.parts.push_back({number, chunk});
  FR_CHECK(store.save(index));
  vm.disk->checkpoint_known() = index.number;
  return index;
}

Result<std::vector<api::CheckpointInfo>> VmManager::list_checkpoints(const std::string& name) {
  if (!find(name)) return fail(ErrorCode::kNotFound, fmt::format("no VM {}", name));
  FR_TRY(CheckpointStore* const store, checkpoint_store());
  const auto held = store->hold();
  FR_TRY(const auto numbers, store->list(name));
  std::vector<api::CheckpointInfo> infos;
  for (const uint64_t number : numbers) {
    FR_TRY(const auto index, store->load(name, number));
    infos.push_back(describe(index));
  }
  return infos;
}

Status VmManager::remove_checkpoint(const std::string& name, uint64_t number) {
  const auto vm = find(name);
  if (!vm) return fail(ErrorCode::kNotFound, fmt::format("no VM {}", name));
  FR_TRY(CheckpointStore* const store, checkpoint_store());
  const std::lock_guard lock(vm->mutex);
  const auto held = store->hold();
  FR_CHECK(store->remove(name, {number}));
  // The number may be given again, to one that somebody asks for.
  if (std::erase(vm->record.checkpoints.made, number) == 0) return {};
  return vmm::save_vm_record(records_folder(), vm->record);
}

Status VmManager::restore_disk(Vm& vm, const disk::CheckpointIndex& index, CheckpointStore& store) {
  // From here on the disk is neither what it was nor what it will be: until that is over, the VM is
  // not started otherwise.
  FR_CHECK(os::make_folders(folder(vm.record.name)));
  const std::string restoring = fmt::format("{}/{}", folder(vm.record.name), kRestoringFile);
  FR_CHECK(os::write_file_atomic(restoring, as_bytes(fmt::to_string(index.number))));
  FR_TRY(const auto storage, os::PosixFolder::open(folder(vm.record.name)));
  for (const char* file : {"overlay.data", "overlay.map", "overlay.live"})
    if (storage->exists(file)) FR_CHECK(storage->remove(file));
  {
    disk::Overlay::Options options;
    options.size_bytes = index.disk_bytes;
    options.base = index.base;
    options.owner_token = parts_.owner_token;
    options.boot_token = boot_token();
    FR_TRY(const auto overlay, disk::Overlay::open(*storage, "overlay", options));
    FR_CHECK(restore_parts(index, store, *overlay));
  }
  return storage->remove(std::string(kRestoringFile));
}

Status VmManager::start_restored(Vm& vm, const disk::CheckpointIndex& index,
                                 CheckpointStore& store) {
  FR_CHECK(restore_disk(vm, index, store));
  FR_CHECK(open_disk(vm, false));
  FR_CHECK(vmm::save_vm_record(records_folder(), vm.record));
  vm.record.qemu.is_incoming = vm.record.qemu.start_paused = true;
  const Status launched = start_qemu(vm);
  // A later start of this VM is none that waits.
  vm.record.qemu.is_incoming = vm.record.qemu.start_paused = false;
  FR_CHECK(launched);
  const std::string socket = folder(vm.record.name) + "/checkpoint.sock";
  const TemporaryFile socket_file(socket);
  FR_CHECK(restore_qemu(vm.record.qemu.qmp_socket, socket,
                        [&](const std::function<Status(ByteView)>& write) {
                          return write_stream(index, store, write);
                        }));
  return vmm::save_vm_record(records_folder(), vm.record);
}

Result<api::VmInfo> VmManager::restore(const std::string& name, const api::RestoreRequest& asked) {
  const auto vm = find(name);
  if (!vm) return fail(ErrorCode::kNotFound, fmt::format("no VM {}", name));
  FR_TRY(CheckpointStore* const store, checkpoint_store());
  const std::lock_guard lock(vm->mutex);
  if (vm->is_removed) return fail(ErrorCode::kExists, fmt::format("VM {} is being removed", name));
  FR_CHECK(check_settled(*vm));
  if (!vm->record.moved_to.empty())
    return fail(ErrorCode::kExists, fmt::format("VM {} moved to host {}; it is not restored here",
                                                name, vm->record.moved_to));
  if (vm->state == api::VmState::kRunning)
    return fail(ErrorCode::kExists, fmt::format("VM {} runs; stop it first", name));
  const auto held = store->hold();
  uint64_t number = asked.checkpoint;
  if (number == 0) {
    FR_TRY(const auto numbers, store->list(name));
    if (numbers.empty())
      return fail(ErrorCode::kNotFound, fmt::format("VM {} has no checkpoint", name));
    number = numbers.back();
  }
  FR_TRY(const auto index, store->load(name, number));
  FR_TRY(const vmm::VmRecord record, vmm::decode_vm_record(index.record));
  if (record.image_digest != vm->record.image_digest || index.base.hex() != record.image_digest)
    return fail(ErrorCode::kInvalid,
                fmt::format("checkpoint {} is of another VM {}", number, name));
  vm->record.qemu = record.qemu;
  vm->record.disk_bytes = record.disk_bytes;
  vm->record.should_run = true;
  vm->record.started_unix_seconds = os::unix_seconds();
  vm->record.process = {};
  if (Status started = start_restored(*vm, index, *store); !started) {
    fail_start(*vm, started.error());
    return std::unexpected(
        std::move(started.error())
            .within(fmt::format("cannot restore VM {} from checkpoint {}", name, number)));
  }
  vm->state = api::VmState::kRunning;
  vm->detail.clear();
  log::info("VM {} runs again, from checkpoint {}: pid {}", name, number, vm->record.process.pid);
  return info(*vm);
}

Status VmManager::check_disk_whole(const std::string& name) const {
  if (!os::path_exists(fmt::format("{}/{}", folder(name), kRestoringFile))) return {};
  return fail(
      ErrorCode::kUnavailable,
      fmt::format("a restore of VM {} was cut off: its disk is of no use until one succeeds",
                  name));
}

Status VmManager::forget_checkpoints(const std::string& name) {
  if (!os::path_exists(parts_.config.state_dir + "/checkpoints")) return {};
  FR_TRY(CheckpointStore* const store, checkpoint_store());
  const auto held = store->hold();
  FR_TRY(const auto numbers, store->list(name));
  return store->remove(name, numbers);
}

void VmManager::end_cut_checkpoint(Vm& vm) {
  const std::string making = fmt::format("{}/{}", folder(vm.record.name), kMakingFile);
  if (!os::path_exists(making)) return;
  // QEMU cannot say its stream to a daemon that has gone: it gave up, or it had ended and waits.
  const auto state = vm.process->run_state();
  if (state && *state == "postmigrate") {
    log::warn("VM {} stood still: the daemon ended amid a checkpoint", vm.record.name);
    if (const auto resumed = vm.process->resume(); !resumed) {
      log::error("VM {} stands still: {}", vm.record.name, resumed.error().message);
      return;
    }
  }
  std::remove(making.c_str());
}

}  // namespace forerun::daemon
