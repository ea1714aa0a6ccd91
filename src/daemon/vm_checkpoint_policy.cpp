// Checkpoints that a VM's policy has made by themselves: when one is due, which are kept, and what
// is told of that.
#include <algorithm>

#include "core/log.h"
#include "daemon/vm_in_manager.h"
#include "daemon/vm_info.h"

namespace forerun::daemon {
namespace {

constexpr auto kLook = 1s;
constexpr double kBudgetMax = 0.5;
constexpr uint64_t kKeepMax = 1000;

}  // namespace

Result<api::CheckpointPolicy> VmManager::set_checkpoint_policy(
    const std::string& name, const api::CheckpointPolicyRequest& asked) {
  const auto vm = find(name);
  if (!vm) return fail(ErrorCode::kNotFound, fmt::format("no VM {}", name));
  const double budget = asked.budget_ratio.value_or(0.02);
  if (!(budget > 0 && budget <= kBudgetMax))
    return fail(ErrorCode::kInvalid,
                fmt::format("checkpoints cannot take {} of the time: above 0, at most {}", budget,
                            kBudgetMax));
  if (asked.keep && (*asked.keep == 0 || *asked.keep > kKeepMax))
    return fail(ErrorCode::kInvalid,
                fmt::format("{} checkpoints cannot be kept: 1 to {}", *asked.keep, kKeepMax));
  if (asked.copies_to && !asked.copies_to->empty() && !knows_host(*asked.copies_to))
    return fail(ErrorCode::kNotFound, fmt::format("no host {} is known", *asked.copies_to));
  const std::lock_guard lock(vm->mutex);
  if (vm->is_removed) return fail(ErrorCode::kNotFound, fmt::format("no VM {}", name));
  vmm::CheckpointSetting& setting = vm->record.checkpoints;
  const vmm::CheckpointSetting before = setting;
  setting.is_auto = asked.is_auto.value_or(setting.is_auto);
  setting.budget_ratio = asked.budget_ratio.value_or(setting.budget_ratio);
  setting.keep = asked.keep.value_or(setting.keep);
  setting.copies_to = asked.copies_to.value_or(setting.copies_to);
  if (auto saved = vmm::save_vm_record(records_folder(), vm->record); !saved) {
    setting = before;
    return std::unexpected(std::move(saved.error()));
  }
  if (vm->pacer) vm->pacer->set_budget(setting.budget_ratio);
  return describe_policy(*vm);
}

Result<api::CheckpointPolicy> VmManager::checkpoint_policy(const std::string& name) {
  const auto vm = find(name);
  if (!vm) return fail(ErrorCode::kNotFound, fmt::format("no VM {}", name));
  const std::lock_guard lock(vm->mutex);
  return describe_policy(*vm);
}

api::CheckpointPolicy VmManager::describe_policy(const Vm& vm) const {
  const vmm::CheckpointSetting& setting = vm.record.checkpoints;
  api::CheckpointPolicy policy{.vm = vm.record.name,
                               .is_auto = setting.is_auto,
                               .budget_ratio = setting.budget_ratio,
                               .keep = setting.keep,
                               .made = setting.made,
                               .copies_to = setting.copies_to,
                               .copied_to = setting.copied_to};
  if (!setting.is_auto) {
    policy.why = "none is made unless asked for";
  } else if (vm.state != api::VmState::kRunning || !vm.disk || !vm.pacer) {
    policy.why = "the VM does not run, or has only just been started";
  } else {
    const auto decision = vm.pacer->decide(vm.disk->written()->written_bytes(), parts_.clock.now());
    policy.next_in_seconds = to_seconds(decision.next_in);
    policy.why = decision.why;
    if (vm.pacer->foresees(parts_.clock.now())) policy.foreseen_host = vm.foreseen_host;
  }
  return policy;
}

void VmManager::keep_checkpoints() {
  std::unique_lock lock(watch_mutex_);
  while (!watch_changed_.wait_for(lock, kLook, [&] { return is_stopping_; })) {
    lock.unlock();
    for (const auto& vm : all()) make_due_checkpoint(*vm);
    lock.lock();
  }
}

void VmManager::make_due_checkpoint(Vm& vm) {
  std::string name, why;
  std::vector<std::string> hosts;  // that are to have a copy of it
  {
    // A VM that is being started or stopped is looked at next time.
    const std::unique_lock own(vm.mutex, std::try_to_lock);
    if (!own) return;
    const vmm::CheckpointSetting& setting = vm.record.checkpoints;
    if (!check_settled(vm)) return;  // a dry run of its migration, say
    const bool may_be = setting.is_auto && vm.state == api::VmState::kRunning && vm.process &&
                        vm.disk && vm.disk->written() && vm.record.qemu.pmem.empty();
    if (!may_be) return vm.pacer.reset();
    const Time now = parts_.clock.now();
    if (!vm.pacer) vm.pacer.emplace(CheckpointPacer::Options{setting.budget_ratio}, now);
    if (vm.disk->pull_id() != 0) return;
    const auto decision = vm.pacer->decide(vm.disk->written()->written_bytes(), now);
    if (!decision.is_due) return;
    name = vm.record.name;
    why = decision.why;
    if (!setting.copies_to.empty()) hosts.push_back(setting.copies_to);
    if (vm.pacer->foresees(now) && vm.foreseen_host != setting.copies_to)
      hosts.push_back(vm.foreseen_host);
  }
  log::info("VM {}: an automatic checkpoint is due: {}", name, why);
  const Time begin = parts_.clock.now();
  const auto made = checkpoint(name);
  if (made) send_copies(name, made->number, hosts);
  const Time end = parts_.clock.now();
  const std::lock_guard own(vm.mutex);
  if (!vm.pacer) return;
  if (!made) {
    vm.pacer->on_failed(made.error().message, end);
    return log::warn("VM {}: {}", name, made.error().message);
  }
  vm.pacer->on_made(end - begin, made->stored_bytes, end);
  keep_newest_checkpoints(vm, made->number);
}

// Those that somebody asked for stay.
void VmManager::keep_newest_checkpoints(Vm& vm, uint64_t made) {
  std::vector<uint64_t>& kept = vm.record.checkpoints.made;
  kept.push_back(made);
  std::vector<uint64_t> old;
  while (kept.size() > vm.record.checkpoints.keep) {
    old.push_back(kept.front());
    kept.erase(kept.begin());
  }
  // First what is remembered: a number that nobody knows costs space, one too many a VM's wrong
  // checkpoint.
  if (const auto saved = vmm::save_vm_record(records_folder(), vm.record); !saved)
    return log::warn("VM {}: {}", vm.record.name, saved.error().message);
  const auto store = checkpoint_store();
  if (!store) return;
  const auto held = (*store)->hold();
  for (const uint64_t number : old) {
    // Somebody may have removed it meanwhile.
    if (const auto gone = (*store)->remove(vm.record.name, {number});
        !gone && gone.error().code != ErrorCode::kNotFound)
      log::warn("VM {}: checkpoint {} stays: {}", vm.record.name, number, gone.error().message);
  }
}

}  // namespace forerun::daemon
