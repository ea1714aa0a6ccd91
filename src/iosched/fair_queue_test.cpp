#include "iosched/fair_queue.h"

#include <deque>
#include <numeric>

#include "core/rng.h"

namespace forerun::iosched {
namespace {

constexpr VmId kA{1}, kB{2};

// A queue, and a line of requests that is kept full for VMs that always want more.
class FairQueueTest : public testing::Test {
 protected:
  void push(VmId vm, uint64_t bytes, Nanos due = 0s) {
    queue_.push(vm, {kTimeZero + due, next_, next_, bytes}, now_);
    ++next_;
  }
  // Serves one request; returns whose it was, 0 if none went.
  uint32_t serve() {
    const auto next = queue_.peek(now_);
    if (!next) return 0;
    queue_.take(*next, now_);
    served_[next->vm.value] += next->place.bytes;
    return next->vm.value;
  }
  // Serves at `rate` for `span`, refilling each of `vms` so that it always waits.
  void run(Nanos span, double rate, const std::vector<std::pair<VmId, uint64_t>>& vms) {
    std::map<uint32_t, uint64_t> waiting;
    for (const auto& [vm, bytes] : vms) push(vm, bytes), push(vm, bytes);
    for (const Time end = now_ + span; now_ < end;) {
      const auto next = queue_.peek(now_);
      if (!next) {
        const Time at = queue_.ready_at(now_);
        ASSERT_GT(at, now_);
        now_ = std::min(at, end);
        continue;
      }
      queue_.take(*next, now_);
      served_[next->vm.value] += next->place.bytes;
      now_ += from_seconds(static_cast<double>(next->place.bytes) / rate);
      push(next->vm, next->place.bytes);
    }
  }

  Shares shares_;
  FairQueue queue_{shares_, true};
  Time now_ = kTimeZero + 1h;
  uint64_t next_ = 1;
  std::map<uint32_t, uint64_t> served_;
};

TEST_F(FairQueueTest, AVmThatAsksMoreGetsNoMore) {
  for (int i = 0; i < 100; ++i) push(kA, 4096);
  for (int i = 0; i < 10; ++i) push(kB, 4096);
  for (int i = 0; i < 20; ++i) serve();
  EXPECT_EQ(served_[kA.value], 10u * 4096);
  EXPECT_EQ(served_[kB.value], 10u * 4096);
}

TEST_F(FairQueueTest, WithinAVmTheEarlierDueGoesFirst) {
  push(kA, 1, 5s);
  push(kA, 2, 1s);
  EXPECT_EQ(queue_.peek(now_)->place.bytes, 2u);
}

TEST_F(FairQueueTest, SharesFollowWeights) {
  shares_.set(kA, {.weight = 300});
  shares_.set(kB, {.weight = 100});
  run(10s, 1e6, {{kA, 4096}, {kB, 65536}});
  EXPECT_NEAR(static_cast<double>(served_[1]) / static_cast<double>(served_[2]), 3.0, 0.1);
}

TEST_F(FairQueueTest, WhoComesBackHasSavedNothingUp) {
  run(10s, 1e6, {{kA, 4096}});
  const uint64_t alone = served_[kA.value];
  EXPECT_GT(alone, 9'900'000u);
  for (int i = 0; i < 1000; ++i) push(kA, 4096), push(kB, 4096);
  served_.clear();
  for (int i = 0; i < 200; ++i) serve();
  // B does not make up for the time in which it asked for nothing.
  EXPECT_NEAR(static_cast<double>(served_[kB.value]), 100.0 * 4096, 3 * 4096);
}

TEST_F(FairQueueTest, AReservationIsMetBesideHeavyOthers) {
  shares_.set(kA, {.weight = 1, .reserved_bytes_per_s = 400'000});
  shares_.set(kB, {.weight = 10'000});
  run(10s, 1e6, {{kA, 4096}, {kB, 65536}});
  EXPECT_GE(served_[kA.value], 3'990'000u);
  EXPECT_LE(served_[kA.value], 4'200'000u);
  EXPECT_GE(served_[kA.value] + served_[kB.value], 9'900'000u);
}

TEST_F(FairQueueTest, AReservationThatTheResourceCannotGiveStarvesNobodyForEver) {
  shares_.set(kA, {.weight = 100, .reserved_bytes_per_s = 900'000});
  shares_.set(kB, {.weight = 100, .reserved_bytes_per_s = 900'000});
  run(10s, 1e6, {{kA, 4096}, {kB, 4096}});
  EXPECT_NEAR(static_cast<double>(served_[1]), 5e6, 1e5);
  EXPECT_NEAR(static_cast<double>(served_[2]), 5e6, 1e5);
}

// ceph/dmclock pull request 34: a client that asks again only when it was answered never has a
// request waiting when its tag is due.
TEST_F(FairQueueTest, AReservationIsMetForAClientThatAsksOneByOne) {
  shares_.set(kA, {.weight = 1, .reserved_bytes_per_s = 400'000});
  shares_.set(kB, {.weight = 10'000});
  for (int i = 0; i < 4; ++i) push(kB, 4096);
  Time asks_at = now_;
  bool waits = false;
  const Time end = now_ + 10s;
  while (now_ < end) {
    if (!waits && now_ >= asks_at) push(kA, 4096), waits = true;
    const uint32_t vm = serve();
    now_ += from_seconds(4096 / 1e6);
    if (vm == kA.value) {
      waits = false;
      asks_at = now_ + 3ms;  // it thinks
    } else {
      push(kB, 4096);
    }
  }
  EXPECT_GE(served_[kA.value], 3'900'000u);
}

TEST_F(FairQueueTest, ALimitHoldsAndTheRestGoesToOthers) {
  shares_.set(kA, {.weight = 10'000, .limit_bytes_per_s = 200'000});
  run(10s, 1e6, {{kA, 4096}, {kB, 4096}});
  EXPECT_LE(served_[kA.value], 2'000'000u + 20'000 + 4096);  // and the credit of 100 ms
  EXPECT_GE(served_[kA.value], 1'980'000u);
  EXPECT_GE(served_[kA.value] + served_[kB.value], 9'900'000u);
}

TEST_F(FairQueueTest, ALimitCountsWhatOtherClassesServed) {
  shares_.set(kA, {.limit_bytes_per_s = 1000});
  FairQueue other(shares_, false);
  push(kA, 1000);
  other.push(kA, {kTimeZero, 1, 1, 1000}, now_);
  EXPECT_EQ(serve(), kA.value);
  EXPECT_FALSE(other.peek(now_));
  const Time at = other.ready_at(now_);
  EXPECT_GT(at, now_ + 800ms);
  EXPECT_TRUE(other.peek(at));
}

TEST_F(FairQueueTest, LargeRequestsTakeNoMoreThanTheirShare) {  // ceph/ceph pull request 39140
  run(60s, 100e6, {{kA, 20 << 20}, {kB, 4096}});
  EXPECT_NEAR(static_cast<double>(served_[1]) / static_cast<double>(served_[2]), 1.0, 0.02);
}

TEST_F(FairQueueTest, AChangedShareStartsLevel) {
  shares_.set(kA, {.weight = 1, .reserved_bytes_per_s = 900'000});
  run(10s, 1e6, {{kA, 4096}, {kB, 4096}});
  shares_.set(kA, {});
  queue_.on_share(kA, now_);
  served_.clear();
  run(1s, 1e6, {{kA, 4096}, {kB, 4096}});
  EXPECT_NEAR(static_cast<double>(served_[1]) / static_cast<double>(served_[2]), 1.0, 0.05);
}

TEST_F(FairQueueTest, WhatIsTakenOutIsNotServed) {
  push(kA, 1);
  const auto first = *queue_.peek(now_);
  push(kA, 2);
  queue_.erase(kA, first.place);
  EXPECT_EQ(queue_.peek(now_)->place.bytes, 2u);
  queue_.erase(kA, queue_.peek(now_)->place);
  EXPECT_TRUE(queue_.is_empty());
  EXPECT_FALSE(queue_.peek(now_));
  EXPECT_EQ(queue_.ready_at(now_), kTimeNever);
}

TEST(Share, IsCheckedByField) {
  EXPECT_TRUE(check({}));
  EXPECT_NE(check({.weight = 0}).error().message.find("weight 0"), std::string::npos);
  EXPECT_NE(check({.weight = std::nan("")}).error().message.find("weight"), std::string::npos);
  EXPECT_NE(check({.reserved_bytes_per_s = -1}).error().message.find("reservation -1"),
            std::string::npos);
  EXPECT_NE(check({.reserved_bytes_per_s = 2, .limit_bytes_per_s = 1})
                .error()
                .message.find("above the limit"),
            std::string::npos);
}

// The bound of SFQ(D), for random weights, sizes and arrivals, on a server of varying rate: over
// every interval in which two VMs both wait.
struct Service {
  uint32_t vm;
  double bytes;
};
struct Flow {
  double weight = 1, longest = 0;
  double work = 0;                 // over weight, since the beginning
  std::vector<double> difference;  // to each other flow: least and most since both wait
};

class FairnessBound : public testing::TestWithParam<uint64_t> {};

TEST_P(FairnessBound, HoldsOverEveryIntervalInWhichBothWait) {
  Rng rng(GetParam());
  const size_t count = 2 + rng.below(6), depth = 1 + rng.below(16);
  Shares shares;
  FairQueue queue(shares, true);
  std::vector<Flow> flows(count);
  for (size_t i = 0; i < count; ++i) {
    flows[i].weight = 1 + static_cast<double>(rng.below(1000));
    flows[i].longest = 512.0 * static_cast<double>(1 + rng.below(256));
    shares.set(VmId{static_cast<uint32_t>(i)}, {.weight = flows[i].weight});
  }
  std::vector<size_t> waiting(count);
  // [a][b]: least and greatest W_a/w_a - W_b/w_b since both wait.
  std::vector<std::vector<std::pair<double, double>>> span(
      count, std::vector<std::pair<double, double>>(count));
  std::deque<Service> in_service;
  const auto gap = [&](size_t a, size_t b) { return flows[a].work - flows[b].work; };
  const auto begin_intervals = [&](size_t a) {
    for (size_t b = 0; b < count; ++b)
      span[a][b] = {gap(a, b), gap(a, b)}, span[b][a] = {gap(b, a), gap(b, a)};
  };
  uint64_t sequence = 0;
  for (int step = 0; step < 3000; ++step) {
    const size_t who = rng.below(count);
    for (size_t burst = rng.below(4) == 0 ? rng.below(12) : 0; burst > 0; --burst) {
      const auto bytes = static_cast<uint64_t>(1 + rng.below(uint64_t(flows[who].longest)));
      if (waiting[who]++ == 0) begin_intervals(who);
      ++sequence;
      queue.push(VmId{static_cast<uint32_t>(who)}, {kTimeZero, sequence, sequence, bytes},
                 kTimeZero);
    }
    while (in_service.size() < depth) {
      const auto next = queue.peek(kTimeZero);
      if (!next) break;
      queue.take(*next, kTimeZero);
      in_service.push_back({next->vm.value, static_cast<double>(next->place.bytes)});
      --waiting[next->vm.value];
    }
    // Any of those in service ends next: the server's order is its own.
    if (in_service.empty()) continue;
    const size_t at = rng.below(in_service.size());
    const Service done = in_service[at];
    in_service.erase(in_service.begin() + static_cast<ptrdiff_t>(at));
    flows[done.vm].work += done.bytes / flows[done.vm].weight;
    for (size_t a = 0; a < count; ++a)
      for (size_t b = 0; b < count; ++b) {
        if (a == b || waiting[a] == 0 || waiting[b] == 0) {
          span[a][b] = {gap(a, b), gap(a, b)};
          continue;
        }
        span[a][b].first = std::min(span[a][b].first, gap(a, b));
        span[a][b].second = std::max(span[a][b].second, gap(a, b));
        const double bound = static_cast<double>(depth + 1) * (flows[a].longest / flows[a].weight +
                                                               flows[b].longest / flows[b].weight);
        ASSERT_LE(span[a][b].second - span[a][b].first, bound + 1e-6)
            << "VMs " << a << " and " << b << " of " << count << ", depth " << depth;
      }
    ASSERT_TRUE(queue.is_empty() || in_service.size() + 1 >= depth) << "it idled";
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, FairnessBound, testing::Range<uint64_t>(1, 41));

}  // namespace
}  // namespace forerun::iosched
