// What observing an access costs the thread that serves the guest. The promise: at most 100 ns.
// `make bench-observe` writes build/bench/observe.json.
#include <benchmark/benchmark.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "trace/access_ring.h"

namespace {

using forerun::trace::Access;
using forerun::trace::AccessRing;

constexpr size_t kCapacity = 1 << 16;

Access access_of(uint64_t block) {
  Access access;
  access.first_block = block;
  access.block_count = 1;
  return access;
}

using Clock = std::chrono::steady_clock;
double nanos_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::nano>(Clock::now() - begin).count();
}

// Keeps the calling thread on one processor while it lives, so that two such threads do not share
// one.
class Pinned {
 public:
  explicit Pinned(unsigned cpu) {
    pthread_getaffinity_np(pthread_self(), sizeof before_, &before_);
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(cpu, &only);
    pthread_setaffinity_np(pthread_self(), sizeof only, &only);
  }
  ~Pinned() { pthread_setaffinity_np(pthread_self(), sizeof before_, &before_); }

 private:
  cpu_set_t before_{};
};

// Empties the ring as the learning thread does: again and again, or only when told to.
class Consumer {
 public:
  enum class Mode { kPolls, kWhenTold };
  Consumer(AccessRing& ring, Mode mode) : thread_([this, &ring, mode] { run(ring, mode); }) {}
  ~Consumer() {
    stop_ = true;
    thread_.join();
  }
  // Returns when `count` accesses have been drained since the start.
  void wait_for(uint64_t count) {
    wanted_ = count;
    while (drained_.load(std::memory_order_acquire) < count) {
    }
  }

 private:
  void run(AccessRing& ring, Mode mode) {
    const Pinned pinned(1);
    std::array<Access, 256> batch;
    uint64_t drained = 0;
    while (!stop_) {
      if (mode == Mode::kWhenTold && drained >= wanted_.load(std::memory_order_relaxed)) continue;
      drained += ring.drain(batch);
      drained_.store(drained, std::memory_order_release);
    }
  }
  std::atomic<bool> stop_{false};
  alignas(64) std::atomic<uint64_t> wanted_{0};
  alignas(64) std::atomic<uint64_t> drained_{0};
  std::thread thread_;
};

// One producer, and the drain of what it pushed outside the timed part: the cost of a push alone.
void push_alone(benchmark::State& state) {
  AccessRing ring(kCapacity);
  std::array<Access, 4096> out;
  uint64_t block = 0;
  while (state.KeepRunningBatch(static_cast<int64_t>(out.size()))) {
    for (size_t i = 0; i < out.size(); ++i) benchmark::DoNotOptimize(ring.push(access_of(++block)));
    state.PauseTiming();
    ring.drain(out);
    state.ResumeTiming();
  }
  state.counters["dropped"] = static_cast<double>(ring.dropped());
}
BENCHMARK(push_alone);

// One producer, drained by the same thread in batches: both halves of the ring's work.
void push_and_drain(benchmark::State& state) {
  AccessRing ring(kCapacity);
  std::array<Access, 256> out;
  uint64_t block = 0;
  while (state.KeepRunningBatch(static_cast<int64_t>(out.size()))) {
    for (size_t i = 0; i < out.size(); ++i) ring.push(access_of(++block));
    benchmark::DoNotOptimize(ring.drain(out));
  }
}
BENCHMARK(push_and_drain);

// A full ring: what an access costs that is lost.
void push_into_a_full_ring(benchmark::State& state) {
  AccessRing ring(16);
  for (auto _ : state) benchmark::DoNotOptimize(ring.push(access_of(1)));
}
BENCHMARK(push_into_a_full_ring);

// Two producers on one ring that holds all they push: both claim cells of the same cache line's
// counter. The column is the time for one push of either; ns_per_push is what one thread waits for
// its own.
void push_contended(benchmark::State& state) {
  static AccessRing ring(AccessRing::kCapacityMax);
  static std::vector<Access> out(AccessRing::kCapacityMax);
  if (state.thread_index() == 0) ring.drain(out);
  const uint64_t dropped_before = ring.dropped();
  uint64_t block = 0;
  Clock::time_point begin{};
  for (auto _ : state) {
    if (block == 0) begin = Clock::now();
    ring.push(access_of(++block));
  }
  const double nanos = nanos_since(begin);
  state.counters["ns_per_push"] =
      benchmark::Counter(nanos / static_cast<double>(block), benchmark::Counter::kAvgThreads);
  if (ring.dropped() != dropped_before) state.SkipWithError("the ring was to hold every push");
}
BENCHMARK(push_contended)
    ->Threads(2)
    ->UseRealTime()
    ->Iterations(AccessRing::kCapacityMax / 2)
    ->Repetitions(9)
    ->ReportAggregatesOnly();

// `batch` pushes at a time, drained by a thread on another core before the next: the case in
// forerund, where one guest request is one push and the consumer's last touch of each cell is what
// a push meets. In mode polled the consumer always looks at the very cell that comes next, the
// worst case. Only the pushes are timed, in wall time with the clock's own time in it (counter
// clock); where processors are shared with others the mean holds time slices, p50 and p99 (of
// batches, for one push) do not. Back to back, each push waits for the cache line of the one
// before, which takes longer the further apart the two processors are.
void push_drained_elsewhere(benchmark::State& state, Consumer::Mode mode) {
  const auto batch = static_cast<uint64_t>(state.range(0));
  AccessRing ring(1024);
  const Pinned pinned(0);
  Consumer consumer(ring, mode);
  std::vector<double> samples;
  std::vector<double> clock_samples;
  uint64_t block = 0;
  while (state.KeepRunningBatch(static_cast<int64_t>(batch))) {
    clock_samples.push_back(nanos_since(Clock::now()));
    const auto begin = Clock::now();
    for (uint64_t i = 0; i < batch; ++i) ring.push(access_of(++block));
    const double nanos = nanos_since(begin);
    state.SetIterationTime(nanos * 1e-9);
    samples.push_back(nanos / static_cast<double>(batch));
    consumer.wait_for(block);
  }
  std::ranges::sort(samples);
  std::ranges::sort(clock_samples);
  state.counters["p50"] = samples[samples.size() / 2];
  state.counters["p99"] = samples[samples.size() * 99 / 100];
  state.counters["clock"] = clock_samples[clock_samples.size() / 2] / static_cast<double>(batch);
  state.counters["dropped"] = static_cast<double>(ring.dropped());
}
BENCHMARK_CAPTURE(push_drained_elsewhere, when_told, Consumer::Mode::kWhenTold)
    ->ArgName("batch")
    ->Arg(1)
    ->Arg(32)
    ->UseManualTime()
    ->Iterations(1 << 18);
BENCHMARK_CAPTURE(push_drained_elsewhere, polled, Consumer::Mode::kPolls)
    ->ArgName("batch")
    ->Arg(1)
    ->Arg(32)
    ->UseManualTime()
    ->Iterations(1 << 18);

}  // namespace
