#include "sim/event_loop.h"

#include <gtest/gtest.h>

#include <vector>

#include "sim/fiber.h"

namespace forerun::sim {
namespace {

TEST(EventLoop, RunsInTheOrderOfTime) {
  EventLoop loop(1);
  std::vector<int> ran;
  loop.after(20ms, EventKind::kTick, 0, [&] { ran.push_back(2); });
  loop.after(10ms, EventKind::kTick, 0, [&] { ran.push_back(1); });
  loop.after(30ms, EventKind::kTick, 0, [&] { ran.push_back(3); });
  const Time until = kTimeZero + 25ms;
  while (loop.run_one(until)) {
  }
  EXPECT_EQ(ran, (std::vector<int>{1, 2}));
  EXPECT_EQ(loop.now(), until);
}

TEST(EventLoop, OrdersSimultaneousEventsByTheSeed) {
  const auto order = [](uint64_t seed) {
    EventLoop loop(seed);
    std::vector<uint64_t> ran;
    for (uint64_t i = 0; i < 16; ++i) {
      loop.after(1ms, EventKind::kTick, i, [&ran, i] { ran.push_back(i); });
    }
    while (loop.run_one(kTimeZero + 1s)) {
    }
    return ran;
  };
  EXPECT_EQ(order(5), order(5));
  EXPECT_NE(order(5), order(6));
}

TEST(EventLoop, HashesWhatRanAndWhatWasNoted) {
  const auto hash = [](Nanos delay, uint64_t noted) {
    EventLoop loop(1);
    loop.after(delay, EventKind::kTick, 7, [&] { loop.note(noted); });
    while (loop.run_one(kTimeZero + 1s)) {
    }
    return loop.hash();
  };
  EXPECT_EQ(hash(1ms, 1), hash(1ms, 1));
  EXPECT_NE(hash(1ms, 1), hash(1ms, 2));
  EXPECT_NE(hash(1ms, 1), hash(2ms, 1));
}

TEST(EventLoop, ForgetsCancelledEvents) {
  EventLoop loop(1);
  bool ran = false;
  const auto ticket = loop.after(1ms, EventKind::kTick, 0, [&] { ran = true; });
  loop.cancel(ticket);
  EXPECT_FALSE(loop.run_one(kTimeZero + 1s));
  EXPECT_FALSE(ran);
}

TEST(Fiber, GoesOnWhereItWasSuspended) {
  std::vector<int> steps;
  Fiber fiber([&] {
    steps.push_back(1);
    Fiber::suspend();
    steps.push_back(3);
  });
  fiber.resume();
  steps.push_back(2);
  EXPECT_FALSE(fiber.is_finished());
  fiber.resume();
  EXPECT_TRUE(fiber.is_finished());
  EXPECT_EQ(steps, (std::vector<int>{1, 2, 3}));
}

TEST(Fiber, SwitchesAmongMany) {
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<int> steps;
  for (int i = 0; i < 3; ++i) {
    fibers.push_back(std::make_unique<Fiber>([&steps, i] {
      for (int round = 0; round < 2; ++round) {
        steps.push_back(i);
        Fiber::suspend();
      }
    }));
  }
  for (int round = 0; round < 3; ++round) {
    for (auto& fiber : fibers) fiber->resume();
  }
  EXPECT_EQ(steps, (std::vector<int>{0, 1, 2, 0, 1, 2}));
}

}  // namespace
}  // namespace forerun::sim
