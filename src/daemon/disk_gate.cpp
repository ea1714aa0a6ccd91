#include "daemon/disk_gate.h"

#include <algorithm>

namespace forerun::daemon {

thread_local const DiskGate::Purpose* DiskGate::Purpose::current_ = nullptr;

void DiskGate::set_weight(VmId vm, double weight) {
  const std::lock_guard lock(mutex_);
  queue_.set_weight(vm, weight, clock_.now());
}

void DiskGate::forget(VmId vm) {
  const std::lock_guard lock(mutex_);
  queue_.forget(vm, clock_.now());
}

// Who waits is counted before it looks once more, and who leaves looks at the count after it has
// left: so one of them sees the other.
void DiskGate::enter(VmId vm, iosched::IoClass io_class, uint64_t bytes) {
  waits_.fetch_add(1, std::memory_order_relaxed);
  Waiter waiter;
  std::unique_lock lock(mutex_);
  const uint64_t key = next_key_++;
  waiters_.emplace(key, &waiter);
  queue_.push(
      {key, io_class, vm, static_cast<uint32_t>(std::min<uint64_t>(bytes, UINT32_MAX)), kTimeZero},
      clock_.now());
  state_.fetch_add(kWaiter, std::memory_order_seq_cst);
  call_next_locked();
  waiter.called.wait(lock, [&] { return waiter.is_called; });
}

void DiskGate::call_next() {
  const std::lock_guard lock(mutex_);
  call_next_locked();
}

void DiskGate::call_next_locked() {
  for (;;) {
    const uint64_t state = state_.load(std::memory_order_seq_cst);
    const auto next = queue_.pull(used(state), used_below(state), clock_.now());
    if (!next) return;
    // Nobody enters by itself while one is counted as waiting, so places only become free.
    state_.fetch_add(step_of(next->io_class) - kWaiter, std::memory_order_seq_cst);
    const auto found = waiters_.find(next->key);
    found->second->is_called = true;
    found->second->called.notify_one();
    waiters_.erase(found);
  }
}

}  // namespace forerun::daemon
