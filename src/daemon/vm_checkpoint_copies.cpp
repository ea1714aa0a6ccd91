// What the manager does for copies of checkpoints: ours at other hosts, theirs here.
#include <algorithm>

#include "core/log.h"
#include "daemon/vm_in_manager.h"

namespace forerun::daemon {

void VmManager::copy_checkpoints_by(CopyCheckpoint copy,
                                    std::function<bool(const std::string& host)> knows) {
  {
    const std::lock_guard lock(checkpoints_mutex_);
    knows_host_ = std::move(knows);
  }
  const std::lock_guard lock(copy_mutex_);
  copy_ = std::move(copy);
}

std::vector<std::string> VmManager::note_copy(const std::string& name, const std::string& host) {
  const auto vm = find(name);
  if (!vm) return {};
  const std::lock_guard lock(vm->mutex);
  std::vector<std::string>& hosts = vm->record.checkpoints.copied_to;
  if (vm->is_removed || std::ranges::find(hosts, host) != hosts.end()) return hosts;
  hosts.push_back(host);
  if (const Status saved = vmm::save_vm_record(records_folder(), vm->record); !saved)
    log::warn("VM {}: {}", name, saved.error().message);
  return hosts;
}

std::vector<std::string> VmManager::copy_hosts(const std::string& name) {
  const auto vm = find(name);
  if (!vm) return {};
  const std::lock_guard lock(vm->mutex);
  return vm->record.checkpoints.copied_to;
}

Status VmManager::may_keep_copy(const std::string& name) {
  const auto vm = find(name);
  if (!vm) return {};
  const std::lock_guard lock(vm->mutex);
  if (!vm->record.moved_to.empty()) return {};
  return fail(ErrorCode::kExists, fmt::format("there is a VM {} already", name));
}

void VmManager::foresee_move(const std::string& name, const std::string& host) {
  const auto vm = find(name);
  if (!vm) return;
  const std::lock_guard lock(vm->mutex);
  if (!vm->record.checkpoints.is_auto || vm->state != api::VmState::kRunning) return;
  const Time now = parts_.clock.now();
  if (!vm->pacer)
    vm->pacer.emplace(CheckpointPacer::Options{vm->record.checkpoints.budget_ratio}, now);
  if (!vm->pacer->foresees(now) || vm->foreseen_host != host)
    log::info("VM {}: a move to host {} is foreseen", name, host);
  vm->foreseen_host = host;
  vm->pacer->foresee(now);
}

bool VmManager::knows_host(const std::string& host) {
  const std::lock_guard lock(checkpoints_mutex_);
  return knows_host_ && knows_host_(host);
}

// After each automatic checkpoint, with nothing locked: it takes as long as the link does.
void VmManager::send_copies(const std::string& name, uint64_t number,
                            const std::vector<std::string>& hosts) {
  const std::lock_guard lock(copy_mutex_);
  if (!copy_) return;
  for (const std::string& host : hosts) {
    if (const Status copied = copy_(name, number, host); !copied)
      log::warn("VM {}: checkpoint {} is not copied to host {}: {}", name, number, host,
                copied.error().message);
  }
}

std::unique_ptr<CheckpointPages> VmManager::checkpoint_pages(const std::string& name) {
  auto opened = [&]() -> Result<std::unique_ptr<CheckpointPages>> {
    if (!os::path_exists(parts_.config.state_dir + "/checkpoints")) return nullptr;
    FR_TRY(CheckpointStore* const store, checkpoint_store());
    return CheckpointPages::open(*store, name);
  }();
  if (opened) return std::move(*opened);
  log::warn("VM {}: its checkpoints are of no use: {}", name, opened.error().message);
  return nullptr;
}

// The VM came whole: what its host before kept here for it is of no more use.
void VmManager::forget_copies(const std::string& name, const std::string& host) {
  if (!os::path_exists(parts_.config.state_dir + "/checkpoints")) return;
  const auto forgotten = [&]() -> Status {
    FR_TRY(CheckpointStore* const store, checkpoint_store());
    const auto held = store->hold();
    FR_TRY(const auto numbers, store->list(CheckpointShelf{name, host}));
    return store->remove(CheckpointShelf{name, host}, numbers);
  }();
  if (!forgotten)
    log::warn("VM {}: the copies for host {} stay: {}", name, host, forgotten.error().message);
}

}  // namespace forerun::daemon
