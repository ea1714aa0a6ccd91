#include "sim/fiber.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <utility>

#include "core/result.h"

// The sanitizers follow a stack switch only if they are told.
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/common_interface_defs.h>
#define FR_FIBER_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#include <sanitizer/tsan_interface.h>
#define FR_FIBER_TSAN 1
#endif
#endif

namespace forerun::sim {
namespace {

constexpr size_t kStackSize = 256 * 1024;  // pages are touched only where used
constexpr size_t kGuardSize = 4096;

thread_local Fiber* running = nullptr;

}  // namespace

struct Fiber::Impl {
  std::function<void()> body;
  ucontext_t outside{};
  ucontext_t inside{};
  std::byte* stack = nullptr;
  bool finished = false;
#ifdef FR_FIBER_ASAN
  void* fake_stack_outside = nullptr;
  void* fake_stack_inside = nullptr;
  const void* outside_bottom = nullptr;
  size_t outside_size = 0;
#endif
#ifdef FR_FIBER_TSAN
  void* tsan_outside = nullptr;
  void* tsan_inside = nullptr;
#endif

  void enter() {
#ifdef FR_FIBER_ASAN
    __sanitizer_start_switch_fiber(&fake_stack_outside, stack + kGuardSize, kStackSize);
#endif
#ifdef FR_FIBER_TSAN
    tsan_outside = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(tsan_inside, 0);
#endif
    swapcontext(&outside, &inside);
#ifdef FR_FIBER_ASAN
    __sanitizer_finish_switch_fiber(fake_stack_outside, nullptr, nullptr);
#endif
  }

  void leave() {
#ifdef FR_FIBER_ASAN
    __sanitizer_start_switch_fiber(finished ? nullptr : &fake_stack_inside, outside_bottom,
                                   outside_size);
#endif
#ifdef FR_FIBER_TSAN
    __tsan_switch_to_fiber(tsan_outside, 0);
#endif
    swapcontext(&inside, &outside);
    arrived();
  }

  void arrived() {
#ifdef FR_FIBER_ASAN
    __sanitizer_finish_switch_fiber(fake_stack_inside, &outside_bottom, &outside_size);
#endif
  }

  static void start(unsigned low, unsigned high) {
    auto* impl = reinterpret_cast<Impl*>(static_cast<uintptr_t>(high) << 32 | low);
    impl->arrived();
    impl->body();
    impl->finished = true;
    impl->leave();
  }
};

Fiber::Fiber(std::function<void()> body) : impl_(std::make_unique<Impl>()) {
  impl_->body = std::move(body);
  void* memory = mmap(nullptr, kStackSize + kGuardSize, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  FR_ASSERT(memory != MAP_FAILED, "no memory for a fiber's stack");
  impl_->stack = static_cast<std::byte*>(memory);
  FR_ASSERT(mprotect(impl_->stack, kGuardSize, PROT_NONE) == 0);
  getcontext(&impl_->inside);
  impl_->inside.uc_stack.ss_sp = impl_->stack + kGuardSize;
  impl_->inside.uc_stack.ss_size = kStackSize;
  impl_->inside.uc_link = nullptr;
  const auto address = reinterpret_cast<uintptr_t>(impl_.get());
  makecontext(&impl_->inside, reinterpret_cast<void (*)()>(&Impl::start), 2,
              static_cast<unsigned>(address), static_cast<unsigned>(address >> 32));
#ifdef FR_FIBER_TSAN
  impl_->tsan_inside = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
  FR_ASSERT(impl_->finished, "a fiber is destroyed while it waits");
#ifdef FR_FIBER_TSAN
  __tsan_destroy_fiber(impl_->tsan_inside);
#endif
  munmap(impl_->stack, kStackSize + kGuardSize);
}

void Fiber::resume() {
  FR_ASSERT(running == nullptr && !impl_->finished);
  running = this;
  impl_->enter();
  running = nullptr;
}

bool Fiber::is_finished() const { return impl_->finished; }

Fiber* Fiber::current() { return running; }

void Fiber::suspend() {
  FR_ASSERT(running != nullptr, "suspended outside of a fiber");
  running->impl_->leave();
}

}  // namespace forerun::sim
