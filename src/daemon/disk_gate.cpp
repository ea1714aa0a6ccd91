#include "daemon/disk_gate.h"

#include <algorithm>

namespace forerun::daemon {

thread_local const DiskGate::Purpose* DiskGate::Purpose::current_ = nullptr;

void DiskGate::set_share(VmId vm, const iosched::Share& share) {
  const std::lock_guard lock(mutex_);
  queue_.set_share(vm, share, clock_.now());
  if (share.limit_bytes_per_s > 0)
    limited_vms_.insert(vm.value);
  else
    limited_vms_.erase(vm.value);
  uint64_t bits = 0;
  for (const uint32_t limited : limited_vms_) bits |= bit_of(VmId{limited});
  limited_.store(bits, std::memory_order_relaxed);
  call_next_locked();  // it may have been held back
}

void DiskGate::forget(VmId vm) {
  set_share(vm, {});
  const std::lock_guard lock(mutex_);
  queue_.forget(vm, clock_.now());
}

// Who waits is counted before it looks once more, and who leaves looks at the count after it has
// left: so one of them sees the other.
void DiskGate::enter(const Asked& asked) {
  Waiter waiter;
  std::unique_lock lock(mutex_);
  const uint64_t key = next_key_++;
  waiters_.emplace(key, &waiter);
  const auto bytes = static_cast<uint32_t>(std::min<uint64_t>(asked.bytes, UINT32_MAX));
  queue_.push({key, asked.io_class, asked.vm, bytes, kTimeZero}, asked.rated_bytes, clock_.now());
  state_.fetch_add(kWaiter, std::memory_order_seq_cst);
  call_next_locked();
  if (!waiter.is_called) wait(waiter, lock);
}

void DiskGate::wait(Waiter& waiter, std::unique_lock<std::mutex>& lock) {
  waits_.fetch_add(1, std::memory_order_relaxed);
  while (!waiter.is_called) {
    const Time now = clock_.now();
    const Time released_at =
        has_timekeeper_ || limited_vms_.empty() ? kTimeNever : queue_.released_at(now);
    if (released_at == kTimeNever) {
      waiter.called.wait(lock);
      continue;
    }
    has_timekeeper_ = true;
    waiter.called.wait_for(lock, std::clamp<Nanos>(released_at - now, 100us, 1s));
    has_timekeeper_ = false;
    call_next_locked();
  }
}

void DiskGate::leave(VmId vm, iosched::IoClass io_class) {
  const std::lock_guard lock(mutex_);
  queue_.on_end(vm, io_class, clock_.now());
  state_.fetch_sub(step_of(io_class), std::memory_order_seq_cst);
  call_next_locked();
}

void DiskGate::call_next() {
  const std::lock_guard lock(mutex_);
  call_next_locked();
}

void DiskGate::call_next_locked() {
  const Time now = clock_.now();
  for (;;) {
    const uint64_t state = state_.load(std::memory_order_seq_cst);
    const auto next = queue_.pull(used(state), used_below(state), now);
    if (!next) break;
    // Nobody enters by itself while one is counted as waiting, so places only become free.
    state_.fetch_add(step_of(next->io_class) - kWaiter, std::memory_order_seq_cst);
    const auto found = waiters_.find(next->key);
    found->second->is_called = true;
    found->second->called.notify_one();
    waiters_.erase(found);
  }
  // One of them keeps the time.
  if (!limited_vms_.empty() && !waiters_.empty() && !has_timekeeper_ &&
      queue_.released_at(now) != kTimeNever)
    waiters_.begin()->second->called.notify_one();
  open_places_.store(queue_.is_watchful(now) ? 0 : places_, std::memory_order_relaxed);
}

}  // namespace forerun::daemon
