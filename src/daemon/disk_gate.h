// One scheduler for a disk of the host: whoever reads or writes its files takes a turn. While
// places are free and nobody waited lately that costs two atomic operations; else whose turn is
// next is decided by iosched/slot_queue.h: by class, then fairly among VMs.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "core/time.h"
#include "iosched/slot_queue.h"

namespace forerun::daemon {

// Thread-safe.
class DiskGate {
 public:
  DiskGate(iosched::SlotQueue::Options options, const Clock& clock)
      : clock_(clock), places_(options.places), open_places_(places_), queue_(options) {}

  // What the VM may have from now on. REQUIRES: iosched::check(share).
  void set_share(VmId vm, const iosched::Share& share);
  void forget(VmId vm);

  // Who asks for a turn, and for how much.
  struct Asked {
    VmId vm;
    iosched::IoClass io_class = iosched::IoClass::kCritical;
    uint64_t bytes = 0;
    uint64_t rated_bytes = bytes;  // that count as the VM's rate
  };

  // A turn, from its making, which waits for it, to its end.
  class Turn {
   public:
    Turn(DiskGate& gate, const Asked& asked)
        : gate_(gate),
          vm_(asked.vm),
          io_class_(asked.io_class),
          is_queued_(!gate.try_enter(asked.vm, step_of(asked.io_class))) {
      if (is_queued_) gate.enter(asked);
    }
    ~Turn() {
      if (is_queued_)
        gate_.leave(vm_, io_class_);
      else
        gate_.leave(step_of(io_class_));
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    DiskGate& gate_;
    const VmId vm_;
    const iosched::IoClass io_class_;
    const bool is_queued_;
  };

  // Of a longer request no more at a turn: while places are kept, so that what has begun is short,
  // and where the VM has a limit. Else as much as there is.
  uint64_t turn_bytes_max(VmId vm) const {
    const bool is_short = open_places_.load(std::memory_order_relaxed) == 0 || always_asks(vm);
    return is_short ? kSliceBytes : UINT64_MAX;
  }
  static constexpr uint64_t kSliceBytes = 128 * 1024;

  // What the I/O of this thread is for, while this lives; the innermost counts.
  class Purpose {
   public:
    Purpose(VmId vm, iosched::IoClass io_class) : vm(vm), io_class(io_class), outer_(current_) {
      current_ = this;
    }
    ~Purpose() { current_ = outer_; }
    Purpose(const Purpose&) = delete;
    Purpose& operator=(const Purpose&) = delete;
    static const Purpose* current() { return current_; }

    const VmId vm;
    const iosched::IoClass io_class;

   private:
    const Purpose* const outer_;
    static thread_local const Purpose* current_;
  };

  // Turns so far that had to be waited for.
  uint64_t waits() const { return waits_.load(std::memory_order_relaxed); }

 private:
  // Places taken, of them below critical, and who waits: 16, 16 and 32 bits of one word, so that
  // one look tells whether a place is free and nobody is before.
  static constexpr uint64_t kPlace = 1, kBelow = 1 << 16, kWaiter = uint64_t{1} << 32;
  static uint64_t step_of(iosched::IoClass io_class) {
    return io_class == iosched::IoClass::kCritical ? kPlace : kPlace + kBelow;
  }
  static uint32_t used(uint64_t state) { return state & 0xffff; }
  static uint32_t used_below(uint64_t state) { return state >> 16 & 0xffff; }
  bool may_enter(uint64_t state) const {
    return state < kWaiter && used(state) < open_places_.load(std::memory_order_relaxed);
  }
  static uint64_t bit_of(VmId vm) { return uint64_t{1} << vm.value % 64; }
  bool always_asks(VmId vm) const {
    return (limited_.load(std::memory_order_relaxed) & bit_of(vm)) != 0;
  }
  bool try_enter(VmId vm, uint64_t step) {
    if (always_asks(vm)) return false;
    uint64_t state = state_.load(std::memory_order_relaxed);
    while (may_enter(state))
      if (state_.compare_exchange_weak(state, state + step, std::memory_order_acquire)) return true;
    return false;
  }
  void leave(uint64_t step) {
    if (state_.fetch_sub(step, std::memory_order_release) >= kWaiter) call_next();
  }
  void leave(VmId vm, iosched::IoClass io_class);
  void enter(const Asked& asked);
  void call_next();
  void call_next_locked();
  struct Waiter {
    std::condition_variable called;
    bool is_called = false;
  };
  void wait(Waiter& waiter, std::unique_lock<std::mutex>& lock);

  const Clock& clock_;
  const uint32_t places_;
  std::atomic<uint64_t> state_{0};
  std::atomic<uint32_t> open_places_;  // that are taken without asking: all, or none
  std::atomic<uint64_t> limited_{0};   // bits of limited_vms_: they always ask
  std::atomic<uint64_t> waits_{0};
  std::mutex mutex_;  // guards all below
  iosched::SlotQueue queue_;
  std::unordered_set<uint32_t> limited_vms_;  // that have a limit
  uint64_t next_key_ = 1;
  std::unordered_map<uint64_t, Waiter*> waiters_;
  bool has_timekeeper_ = false;  // one of them waits for the end of a limit's time
};

}  // namespace forerun::daemon
