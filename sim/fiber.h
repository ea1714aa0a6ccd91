// A function with a stack of its own, in the one thread of a simulation: what runs on a thread in
// the daemon, and blocks there, runs on a fiber here, and suspends. So sim/ drives the very code
// that blocks in production.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace forerun::sim {

// REQUIRES: finished before it is destroyed; whoever suspended it must let it run to its end.
class Fiber {
 public:
  explicit Fiber(std::function<void()> body);
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Runs it until it suspends or ends. REQUIRES: called from outside any fiber.
  void resume();
  bool is_finished() const;

  // Returns the fiber that runs now; null outside of one.
  static Fiber* current();
  // Goes back to who resumed the current fiber. REQUIRES: current() is not null.
  static void suspend();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace forerun::sim
