#include "daemon/vm_manager.h"

#include <csignal>

#include "core/log.h"
#include "daemon/gated_folder.h"
#include "daemon/prefetch_words.h"
#include "daemon/vm_in_manager.h"
#include "daemon/vm_info.h"
#include "daemon/vm_stats.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/process.h"
#include "vmm/recovery_monitor.h"

namespace forerun::daemon {

VmManager::VmManager(Parts parts)
    : parts_(std::move(parts)), accelerator_(vmm::probe_accelerator()) {
  if (auto boot_id = vmm::host_boot_id()) boot_id_ = *boot_id;
  watcher_ = std::jthread([this] { watch(); });
  checkpointer_ = std::jthread([this] { keep_checkpoints(); });
}

VmManager::~VmManager() {
  {
    const std::lock_guard lock(watch_mutex_);
    is_stopping_ = true;
  }
  watch_changed_.notify_all();
  watcher_.join();
  checkpointer_.join();
}

std::shared_ptr<VmManager::Vm> VmManager::find(const std::string& name) {
  const std::lock_guard lock(mutex_);
  const auto found = vms_.find(name);
  return found == vms_.end() ? nullptr : found->second;
}

Result<ImageCatalog::LayoutPtr> VmManager::disk_of(const api::RunRequest& request) {
  if (const auto vm = find(request.name)) {
    std::string own;
    {
      const std::lock_guard lock(vm->mutex);
      if (vm->is_removed)
        return fail(ErrorCode::kExists, fmt::format("VM {} is being removed", request.name));
      if (!request.image.empty() && vm->record.image != request.image)
        return fail(ErrorCode::kExists,
                    fmt::format("VM {} exists and belongs to image {}; remove it first",
                                request.name, vm->record.image));
      own = vm->record.image_digest;
    }
    FR_TRY(const Digest digest, parse_digest(own));
    return parts_.catalog.open_digest(digest);
  }
  if (request.image.empty())
    return fail(ErrorCode::kNotFound,
                fmt::format("no VM {}: to create it, name its image or components", request.name));
  FR_TRY(const auto image, parts_.catalog.open(request.image));
  return image.layout;
}

Result<std::shared_ptr<VmManager::Vm>> VmManager::prepare(const api::RunRequest& request,
                                                          const Digest& image) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<Vm>& vm = vms_[request.name];
  if (!vm) {
    vm = std::make_shared<Vm>();
    vm->record.name = request.name;
    vm->record.image = request.image;
    vm->record.image_digest = image.hex();
    vm->record.disk_bytes = request.disk_bytes;
    vm->record.created_unix_seconds = os::unix_seconds();
  }
  return vm;
}

uint64_t VmManager::boot_token() const {
  // Zero means "unknown": then what a killed daemon had not flushed is not believed.
  return boot_id_.empty() ? 0 : sha256(as_bytes(boot_id_)).prefix() | 1;
}

Result<std::shared_ptr<ServedDisk>> VmManager::make_disk(Vm& vm, bool is_observed) {
  FR_TRY(const Digest digest, parse_digest(vm.record.image_digest));
  FR_TRY(vm.layout, parts_.catalog.open_digest(digest));
  FR_TRY(auto storage, os::PosixFolder::open(folder(vm.record.name)));
  {
    const std::lock_guard lock(mutex_);
    vm.id = VmId{next_id_++};
  }
  parts_.fetches.set_share(vm.id, vm.record.share);
  parts_.gate.set_share(vm.id, {.weight = vm.record.share.weight});
  auto gated = std::make_unique<GatedFolder>(std::move(storage), parts_.gate, vm.id);
  return ServedDisk::open({vm.layout, std::move(gated), parts_.owner_token, boot_token(), vm.id,
                           is_observed, vm.record.disk_bytes, vm.record.tenant},
                          parts_.clock, parts_.tier, parts_.fetches, parts_.foresight);
}

Status VmManager::open_disk(Vm& vm, bool is_boot) {
  const bool observed = prefetch_mode(vm.record) != api::PrefetchMode::kOff &&
                        parts_.config.prefetch != PrefetchPolicy::kOff;
  FR_TRY(vm.disk, make_disk(vm, observed));
  if (observed) start_foresight(vm, is_boot);
  nbd::Export entry;
  entry.device = vm.disk;
  entry.description = fmt::format("disk of VM {}, image {}", vm.record.name, vm.record.image);
  return parts_.exports.add(vm.record.name, entry);
}

void VmManager::start_foresight(const Vm& vm, bool is_boot) {
  const bool acts = prefetch_mode(vm.record) == api::PrefetchMode::kOn &&
                    parts_.config.prefetch != PrefetchPolicy::kObserve;
  const auto mode = acts ? Foresight::Mode::kOn : Foresight::Mode::kObserve;
  const auto& layout = vm.layout;
  parts_.histories.open(vm.id, vm.record.name, layout->components());
  if (!is_boot || !parts_.first_boots.is_pending(layout->digest)) {
    parts_.foresight.start_vm(vm.id, layout->components(), layout->priors(), mode, is_boot,
                              vm.record.tenant);
    return;
  }
  parts_.foresight.start_vm_without_priors(vm.id, layout->components(), mode, vm.record.tenant);
  const auto give = [&foresight = parts_.foresight, layout, id = vm.id] {
    foresight.give_priors(id, layout->priors());
  };
  if (!parts_.first_boots.when_foreseen(layout->digest, give)) give();
}

void VmManager::close_disk(Vm& vm) {
  if (!vm.disk) return;
  parts_.exports.remove(vm.record.name);
  parts_.fetches.abandon(vm.id);
  vm.disk->abandon_pull();
  parts_.server.end_export(parts_.exports, vm.record.name);
  if (const auto flushed = vm.disk->flush(); !flushed)
    log::error("VM {}: its last writes may be lost: {}", vm.record.name, flushed.error().message);
  parts_.foresight.end_vm(vm.id);
  parts_.histories.close(vm.id);
  parts_.gate.forget(vm.id);
  vm.last_figures = std::make_shared<const ServedDisk::Figures>(vm.disk->figures());
  vm.disk.reset();
}

Status VmManager::start_qemu(Vm& vm) {
  auto launched = vmm::VmProcess::launch(vm.record.qemu, folder(vm.record.name) + "/qemu.log");
  if (!launched)
    return std::unexpected(
        std::move(launched.error()).within(fmt::format("cannot start VM {}", vm.record.name)));
  parts_.agents.open(vm.record.name, vm.id, vm.record.qemu.agent_socket, vm.record.profile);
  vm.process = *launched;
  vm.record.process = launched->id();
  vm.record.boot_id = boot_id_;
  return {};
}

std::string VmManager::mac_of(const std::string& name) {
  const auto vm = find(name);
  if (!vm) return "";
  const std::lock_guard lock(vm->mutex);
  return vm->record.qemu.mac;
}

Result<api::VmInfo> VmManager::run(const api::RunRequest& asked) {
  if (!is_valid_name(asked.name))
    return fail(ErrorCode::kInvalid,
                fmt::format("'{}' cannot name a VM: use 1-64 of a-z A-Z 0-9 . _ -", asked.name));
  // Held until the VM is known: so its disk is in use all the while (disks()).
  FR_TRY(const auto layout, disk_of(asked));
  const Digest digest = layout->digest;
  api::RunRequest request = asked;
  FR_CHECK(add_kernel(*layout, parts_.catalog, parts_.kernels, request));
  vmm::QemuOptions options = qemu_options(request);
  FR_CHECK(add_network(request, options));
  FR_TRY(auto pmem, add_pmem(request, options));
  FR_TRY(const auto vm, prepare(request, digest));
  const std::lock_guard lock(vm->mutex);
  if (vm->is_removed)
    return fail(ErrorCode::kExists, fmt::format("VM {} is being removed", request.name));
  // One that has come, and stopped before its disk had, goes on with that.
  if (!vm->record.migration.is_decided || !vm->record.moved_to.empty())
    FR_CHECK(check_settled(*vm));
  if (!vm->record.moved_to.empty())
    return fail(ErrorCode::kExists, fmt::format("VM {} moved to host {}; remove it here first",
                                                request.name, vm->record.moved_to));
  if (vm->state == api::VmState::kRunning)
    return fail(ErrorCode::kExists, fmt::format("VM {} runs already", request.name));
  FR_CHECK(check_disk_whole(request.name));
  if (vm->record.image_digest != digest.hex())
    return fail(ErrorCode::kExists, fmt::format("another VM {} was just created", request.name));
  if (request.disk_bytes != 0 && request.disk_bytes != vm->record.disk_bytes)
    return fail(ErrorCode::kExists,
                fmt::format("VM {} exists; its disk's size stays", request.name));
  vm->record.qemu = std::move(options);
  vm->pmem = std::move(pmem);
  vm->record.prefetch = prefetch_word(request.prefetch);
  if (!request.tenant.empty()) vm->record.tenant = request.tenant;
  if (request.checkpoint_auto) vm->record.checkpoints.is_auto = *request.checkpoint_auto;
  vm->record.should_run = true;
  vm->record.started_unix_seconds = os::unix_seconds();
  vm->record.process = {};
  FR_CHECK(os::make_folders(records_folder()));

  Status started = open_disk(*vm, true);
  if (started) started = vmm::save_vm_record(records_folder(), vm->record);
  if (started && !is_disk_only(vm->record)) started = start_qemu(*vm);
  if (started) started = vmm::save_vm_record(records_folder(), vm->record);
  if (!started) {
    fail_start(*vm, started.error());
    return std::unexpected(started.error());
  }
  parts_.pmem.sweep();  // what the last run had and this one has not
  vm->state = api::VmState::kRunning;
  vm->detail.clear();
  parts_.launches.on_launch(vm->record.image, vm->record.tenant, *layout);
  log::info("VM {} runs: image {}, pid {}", request.name, vm->record.image, vm->record.process.pid);
  return info(*vm);
}

void VmManager::fail_start(Vm& vm, const Error& error) {
  if (vm.process) [[maybe_unused]]
    const auto killed = os::send_signal(vm.process->id(), SIGKILL);
  vm.process.reset();
  parts_.agents.close(vm.record.name);
  close_disk(vm);
  vm.record.should_run = false;
  vm.record.process = {};
  vm.state = api::VmState::kFailed;
  vm.detail = error.message;
  [[maybe_unused]] const auto saved = vmm::save_vm_record(records_folder(), vm.record);
}

Result<api::VmInfo> VmManager::stop(const std::string& name, const api::StopRequest& request) {
  const auto vm = find(name);
  if (!vm) return fail(ErrorCode::kNotFound, fmt::format("no VM {}", name));
  const std::lock_guard lock(vm->mutex);
  FR_CHECK(check_settled(*vm));
  if (vm->state != api::VmState::kRunning) return info(*vm);
  if (vm->process) {
    vmm::StopOptions options;
    options.ask_guest = !request.force;
    options.power_down_timeout = request.timeout;
    FR_TRY(const auto how, vm->process->stop(options));
    log::info("VM {} stopped by {}", name, vmm::stopped_by_name(how));
  }
  FR_CHECK(note_end(*vm));
  return info(*vm);
}

Status VmManager::note_end(Vm& vm) {
  vm.process.reset();
  parts_.agents.close(vm.record.name);
  close_disk(vm);
  parts_.launches.on_stop(vm.record.image, *vm.layout);
  vm.state = api::VmState::kStopped;
  vm.record.should_run = false;
  vm.record.process = {};
  return vmm::save_vm_record(records_folder(), vm.record);
}

Status VmManager::remove(const std::string& name) {
  const auto vm = find(name);
  if (!vm) return fail(ErrorCode::kNotFound, fmt::format("no VM {}", name));
  const std::lock_guard lock(vm->mutex);
  FR_CHECK(check_settled(*vm));
  if (vm->state == api::VmState::kRunning)
    return fail(ErrorCode::kExists, fmt::format("VM {} runs; stop it first", name));
  return remove(*vm);
}

Status VmManager::remove(Vm& known, bool keep_checkpoints) {
  // `known` lives while the map or a caller has it: it is erased last.
  const auto vm = &known;
  const std::string name = vm->record.name;
  vm->is_removed = true;
  parts_.agents.forget(name);
  parts_.histories.remove(name);
  if (!keep_checkpoints) FR_CHECK(forget_checkpoints(name));
  if (auto removed = vmm::remove_vm_record(records_folder(), name);
      !removed && removed.error().code != ErrorCode::kNotFound)
    return removed;
  if (const auto files = os::list_folder(folder(name))) {
    FR_TRY(const auto storage, os::PosixFolder::open(folder(name)));
    for (const std::string& file : *files) FR_CHECK(storage->remove(file));
    FR_CHECK(os::remove_folder(folder(name)));
  }
  vm->pmem.clear();
  parts_.pmem.sweep();
  const std::lock_guard all(mutex_);
  vms_.erase(name);
  return {};
}

api::VmInfo VmManager::info(const Vm& vm) const {
  api::VmInfo info = describe_vm(vm.record, parts_.config);
  info.state = vm.state;
  info.detail = vm.detail;
  add_migration(vm, info);
  info.pid = vm.process ? vm.process->id().pid : 0;
  return info;
}

std::vector<std::shared_ptr<VmManager::Vm>> VmManager::all() {
  std::vector<std::shared_ptr<Vm>> all;
  const std::lock_guard lock(mutex_);
  for (const auto& [name, vm] : vms_) all.push_back(vm);
  return all;
}

std::vector<api::VmInfo> VmManager::list() {
  std::vector<api::VmInfo> infos;
  for (const auto& vm : all()) {
    const std::lock_guard lock(vm->mutex);
    if (!vm->is_removed) infos.push_back(info(*vm));
  }
  return infos;
}

Result<api::VmInfo> VmManager::get(const std::string& name) {
  const auto vm = find(name);
  if (!vm) return fail(ErrorCode::kNotFound, fmt::format("no VM {}", name));
  const std::lock_guard lock(vm->mutex);
  check_on(*vm);
  return info(*vm);
}

Result<std::set<Digest>> VmManager::disks() {
  // Listed first: a record that is written later is of a VM that is known by then.
  std::vector<std::string> recorded;
  if (os::path_exists(records_folder())) {
    FR_TRY(recorded, vmm::list_vm_records(records_folder()));
  }
  std::set<Digest> disks;
  const std::lock_guard lock(mutex_);
  for (const std::string& name : recorded) {
    const auto vm = vms_.find(name);
    const bool is_known = vm != vms_.end() && !vm->second->record.image_digest.empty();
    if (is_known || !os::path_exists(fmt::format("{}/{}.json", records_folder(), name))) continue;
    return fail(ErrorCode::kCorrupt,
                fmt::format("nobody knows the disk of VM {}: its record is unreadable", name));
  }
  for (const auto& [name, vm] : vms_) {
    // Set before the VM is known to others, and never changed: no lock of its own, which a stop
    // would hold for as long as the guest takes.
    if (vm->record.image_digest.empty()) continue;
    FR_TRY(const Digest digest, parse_digest(vm->record.image_digest));
    disks.insert(digest);
  }
  return disks;
}

size_t VmManager::running_count() {
  const auto infos = list();
  return static_cast<size_t>(std::count_if(
      infos.begin(), infos.end(), [](const auto& i) { return i.state == api::VmState::kRunning; }));
}

Result<api::VmStats> VmManager::stats(const std::string& name) {
  const auto vm = find(name);
  if (!vm) return fail(ErrorCode::kNotFound, fmt::format("no VM {}", name));
  std::shared_ptr<ServedDisk> disk;
  std::shared_ptr<const ServedDisk::Figures> figures;
  VmId id;
  {
    const std::lock_guard lock(vm->mutex);
    disk = vm->disk;
    figures = vm->last_figures;
    id = vm->id;
  }
  if (disk) figures = std::make_shared<const ServedDisk::Figures>(disk->figures());
  if (!figures)
    return fail(ErrorCode::kNotFound,
                fmt::format("VM {} has not run since the daemon started", name));

  api::VmStats stats = figures->stats;
  stats.name = name;
  add_prefetching(parts_.foresight.read(id), stats);
  stats.observations_dropped = parts_.foresight.observations_dropped();
  return stats;
}

Result<VmManager::Known> VmManager::look_up(const std::string& name) {
  const auto vm = find(name);
  if (!vm) return fail(ErrorCode::kNotFound, fmt::format("no VM {}", name));
  const std::lock_guard lock(vm->mutex);
  FR_TRY(const Digest digest, parse_digest(vm->record.image_digest));
  FR_TRY(auto layout, parts_.catalog.open_digest(digest));
  return Known{vm->id, vm->disk, std::move(layout), vm->record.tenant};
}

Status VmManager::recover_one(const std::string& name) {
  auto vm = std::make_shared<Vm>();
  FR_TRY(vm->record, vmm::load_vm_record(records_folder(), name));
  {
    const std::lock_guard lock(mutex_);
    vms_[name] = vm;
  }
  const std::lock_guard lock(vm->mutex);
  for (const vmm::PmemDevice& device : vm->record.qemu.pmem) {
    // Gone: a running guest still has it mapped, a stopped one gets it made again.
    if (auto file = parts_.pmem.adopt(device.path, device.size_bytes))
      vm->pmem.push_back(std::move(*file));
  }
  if (!is_disk_only(vm->record)) parts_.agents.ask(name, vm->record.profile);
  if (vm->record.migration.role != vmm::MigrationRecord::Role::kNone) {
    FR_TRY(const bool is_done, recover_migrating(*vm));
    if (is_done) return {};
  }
  if (!vm->record.should_run) return {};
  const bool is_here = is_disk_only(vm->record) ||
                       (vm->record.boot_id == boot_id_ && os::is_alive(vm->record.process));
  if (!is_here) {
    vm->detail = "QEMU ended while the daemon was away";
    return {};
  }
  FR_CHECK(open_disk(*vm, false));
  if (!is_disk_only(vm->record)) {
    vm->process = vmm::VmProcess::of(vm->record.process, vm->record.qemu.qmp_socket);
    end_cut_checkpoint(*vm);
    parts_.agents.open(name, vm->id, vm->record.qemu.agent_socket, vm->record.profile);
  }
  vm->state = api::VmState::kRunning;
  log::info("VM {} found again: pid {}", name, vm->record.process.pid);
  return {};
}

Status VmManager::recover() {
  std::vector<std::string> names;
  if (os::path_exists(records_folder())) {
    FR_TRY(names, vmm::list_vm_records(records_folder()));
  }
  for (const std::string& name : names) {
    if (const auto recovered = recover_one(name); !recovered) {
      log::error("VM {} cannot be taken up again: {}", name, recovered.error().message);
      if (const auto vm = find(name)) {
        const std::lock_guard lock(vm->mutex);
        vm->state = api::VmState::kFailed;
        vm->detail = recovered.error().message;
      }
    }
  }
  parts_.pmem.sweep();
  return {};
}

void VmManager::check_on(Vm& vm) {
  if (vm.state != api::VmState::kRunning || !vm.process || vm.process->is_alive()) return;
  if (vm.record.migration.role == vmm::MigrationRecord::Role::kSource &&
      vm.record.migration.is_decided)
    return;  // it is no longer ours: the migration looks after it
  log::info("VM {} ended by itself", vm.record.name);
  vm.detail = vm.record.migration.is_postcopy ? lost_words(vm.record) : "QEMU ended by itself";
  if (const auto saved = note_end(vm); !saved)
    log::warn("the record of VM {} cannot be saved: {}", vm.record.name, saved.error().message);
}

void VmManager::watch() {
  std::unique_lock lock(watch_mutex_);
  while (!watch_changed_.wait_for(lock, 300ms, [&] { return is_stopping_; })) {
    lock.unlock();
    parts_.recorder.tick();
    parts_.histories.save_due();
    for (const auto& vm : all()) {
      // A VM that is being started or stopped is looked at next time.
      if (const std::unique_lock own(vm->mutex, std::try_to_lock); own) {
        check_on(*vm);
        if (vm->process && vm->record.migration.role == vmm::MigrationRecord::Role::kNone)
          vmm::drain_recovery_monitor(vm->record.qemu.qmp_socket);
      }
    }
    lock.lock();
  }
}

}  // namespace forerun::daemon
