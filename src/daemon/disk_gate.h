// One scheduler for a disk of the host: whoever reads or writes its files takes a turn. While
// places are free that costs two atomic operations; when none is, whose turn is next is decided by
// iosched/slot_queue.h: by class, then fairly among VMs.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <unordered_map>

#include "core/time.h"
#include "iosched/slot_queue.h"

namespace forerun::daemon {

// Thread-safe.
class DiskGate {
 public:
  DiskGate(iosched::SlotQueue::Options options, const Clock& clock)
      : clock_(clock), options_(options), queue_(options) {}

  void set_weight(VmId vm, double weight);
  void forget(VmId vm);

  // A turn, from its making, which waits for it, to its end.
  class Turn {
   public:
    Turn(DiskGate& gate, VmId vm, iosched::IoClass io_class, uint64_t bytes)
        : gate_(gate), step_(step_of(io_class)) {
      if (!gate.try_enter(step_)) gate.enter(vm, io_class, bytes);
    }
    ~Turn() { gate_.leave(step_); }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    DiskGate& gate_;
    const uint64_t step_;
  };

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

  uint64_t waits() const { return waits_.load(std::memory_order_relaxed); }  // so far

 private:
  // Places taken, of them below critical, and who waits: 16, 16 and 32 bits of one word, so that
  // one look tells whether a place is free and nobody is before.
  static constexpr uint64_t kPlace = 1, kBelow = 1 << 16, kWaiter = uint64_t{1} << 32;
  static uint64_t step_of(iosched::IoClass io_class) {
    return io_class == iosched::IoClass::kCritical ? kPlace : kPlace + kBelow;
  }
  static uint32_t used(uint64_t state) { return state & 0xffff; }
  static uint32_t used_below(uint64_t state) { return state >> 16 & 0xffff; }
  bool may_enter(uint64_t state, uint64_t step) const {
    return state < kWaiter && used(state) < options_.places &&
           (step == kPlace || used_below(state) < options_.places_below_critical);
  }
  bool try_enter(uint64_t step) {
    uint64_t state = state_.load(std::memory_order_relaxed);
    while (may_enter(state, step))
      if (state_.compare_exchange_weak(state, state + step, std::memory_order_acquire)) return true;
    return false;
  }
  void leave(uint64_t step) {
    if (state_.fetch_sub(step, std::memory_order_release) >= kWaiter) call_next();
  }
  void enter(VmId vm, iosched::IoClass io_class, uint64_t bytes);
  void call_next();
  void call_next_locked();

  const Clock& clock_;
  const iosched::SlotQueue::Options options_;
  std::atomic<uint64_t> state_{0};
  std::atomic<uint64_t> waits_{0};
  std::mutex mutex_;  // guards all below
  iosched::SlotQueue queue_;
  uint64_t next_key_ = 1;
  struct Waiter {
    std::condition_variable called;
    bool is_called = false;
  };
  std::unordered_map<uint64_t, Waiter*> waiters_;
};

}  // namespace forerun::daemon
