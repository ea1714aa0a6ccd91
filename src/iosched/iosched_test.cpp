#include <deque>

#include "core/rng.h"
#include "iosched/link_estimator.h"
#include "iosched/scheduler.h"
#include "iosched/token_bucket.h"

namespace forerun::iosched {
namespace {

constexpr uint32_t kChunk = 24 * 1024;

Request request(uint64_t key, IoClass io_class, Nanos due = 0s) {
  return {key, io_class, VmId{1}, kChunk, kTimeZero + due};
}

TEST(Scheduler, CriticalGoesBeforePrefetchBeforeBackground) {
  Scheduler scheduler({});
  ASSERT_TRUE(scheduler.push(request(1, IoClass::kBackground), kTimeZero));
  ASSERT_TRUE(scheduler.push(request(2, IoClass::kPrefetch), kTimeZero));
  ASSERT_TRUE(scheduler.push(request(3, IoClass::kCritical), kTimeZero));
  EXPECT_EQ(scheduler.pull(kTimeZero)->key, 3u);
  EXPECT_EQ(scheduler.pull(kTimeZero)->key, 2u);
  EXPECT_EQ(scheduler.pull(kTimeZero)->key, 1u);
  EXPECT_FALSE(scheduler.pull(kTimeZero));
}

TEST(Scheduler, WithinAClassTheEarlierDueGoesFirst) {
  Scheduler scheduler({});
  scheduler.push(request(1, IoClass::kPrefetch, 5s), kTimeZero);
  scheduler.push(request(2, IoClass::kPrefetch, 1s), kTimeZero);
  EXPECT_EQ(scheduler.pull(kTimeZero)->key, 2u);
}

TEST(Scheduler, PrefetchStopsAtTheWindowAndCriticalDoesNot) {
  Scheduler scheduler({});
  for (uint64_t key = 1; key <= 10; ++key)
    scheduler.push(request(key, IoClass::kPrefetch), kTimeZero);
  size_t sent = 0;
  while (scheduler.pull(kTimeZero)) ++sent;
  EXPECT_EQ(sent, 3u);  // the first window is 64 KiB: 2 chunks are below it, the third passes it
  scheduler.push(request(99, IoClass::kCritical), kTimeZero);
  EXPECT_EQ(scheduler.pull(kTimeZero)->key, 99u);
}

TEST(Scheduler, WhatTurnsOutShorterLeavesRoomForMore) {
  Scheduler scheduler({});
  for (uint64_t key = 1; key <= 10; ++key)
    scheduler.push(request(key, IoClass::kPrefetch), kTimeZero);
  while (scheduler.pull(kTimeZero)) {
  }
  scheduler.resize(1, 1024);
  scheduler.resize(2, 1024);
  EXPECT_EQ(scheduler.stats(IoClass::kPrefetch).in_flight_bytes, 2 * 1024 + kChunk);
  EXPECT_TRUE(scheduler.pull(kTimeZero));
  scheduler.on_complete(1, 1024, kTimeZero + 1ms);
  EXPECT_EQ(scheduler.stats(IoClass::kPrefetch).in_flight_bytes, 1024 + 2 * kChunk);
}

TEST(Scheduler, RequestsOfOneLengthStillFindThatTheLinkCarriesMore) {
  // 25 MB/s with 4 ms: 100 kB under way fill it, and the first window is half of that.
  constexpr double kRate = 25e6;
  constexpr uint32_t kBytes = 16 * 1024;
  Scheduler scheduler({.probe_gain = 0.25});
  std::deque<std::pair<Time, uint64_t>> coming;
  Time now = kTimeZero + 1s, free_at = now;
  uint64_t key = 0;
  for (int i = 0; i < 2000; ++i) {
    ++key;
    scheduler.push({key, IoClass::kBackground, VmId{1}, kBytes, now}, now);
    while (const auto sent = scheduler.pull(now)) {
      free_at = std::max(free_at, now + 2ms) + from_seconds(kBytes / kRate);
      coming.push_back({free_at + 2ms, sent->key});
    }
    now = std::max(now, coming.front().first);
    scheduler.on_complete(coming.front().second, kBytes, now);
    coming.pop_front();
    ++key;
    scheduler.push({key, IoClass::kBackground, VmId{1}, kBytes, now}, now);
  }
  EXPECT_GT(scheduler.link().rate_bytes_per_s, 0.9 * kRate);
}

TEST(Scheduler, PromotedRequestOvertakesTheQueue) {
  Scheduler scheduler({});
  for (uint64_t key = 1; key <= 5; ++key)
    scheduler.push(request(key, IoClass::kPrefetch), kTimeZero);
  scheduler.promote(5, IoClass::kCritical, VmId{1}, kTimeZero);
  EXPECT_EQ(scheduler.pull(kTimeZero)->key, 5u);
  EXPECT_EQ(scheduler.stats(IoClass::kCritical).promoted, 1u);
}

TEST(Scheduler, CancelTakesBackOnlyWhatIsQueued) {
  Scheduler scheduler({});
  scheduler.push(request(1, IoClass::kPrefetch), kTimeZero);
  scheduler.push(request(2, IoClass::kPrefetch), kTimeZero);
  ASSERT_TRUE(scheduler.pull(kTimeZero));
  EXPECT_FALSE(scheduler.cancel(1));
  EXPECT_TRUE(scheduler.cancel(2));
  EXPECT_FALSE(scheduler.pull(kTimeZero));
}

TEST(Scheduler, FullQueueRefuses) {
  SchedulerOptions options;
  options.queued_max = 2;
  Scheduler scheduler(options);
  EXPECT_TRUE(scheduler.push(request(1, IoClass::kPrefetch), kTimeZero));
  EXPECT_TRUE(scheduler.push(request(2, IoClass::kPrefetch), kTimeZero));
  EXPECT_FALSE(scheduler.push(request(3, IoClass::kPrefetch), kTimeZero));
}

TEST(Scheduler, FloorsKeepLowerClassesAliveUnderEndlessCriticalLoad) {
  SchedulerOptions options;
  options.in_flight_max = 6;
  Scheduler scheduler(options);
  Time now = kTimeZero;
  for (uint64_t key = 1; key <= 1000; ++key) {
    scheduler.push(request(key, IoClass::kPrefetch), now);
    scheduler.push(request(key + 100000, IoClass::kBackground), now);
  }
  std::array<uint64_t, kIoClassCount> bytes{};
  uint64_t key = 1000000;
  for (int round = 0; round < 5000; ++round, now += 1ms) {
    while (scheduler.stats(IoClass::kCritical).queued < 4)
      scheduler.push(request(key++, IoClass::kCritical), now);
    const auto sent = scheduler.pull(now);
    ASSERT_TRUE(sent);
    bytes[static_cast<size_t>(sent->io_class)] += sent->bytes;
    scheduler.on_complete(sent->key, sent->bytes, now + 1ms);
  }
  const double total = static_cast<double>(bytes[0] + bytes[1] + bytes[2]);
  EXPECT_NEAR(static_cast<double>(bytes[1]) / total, 0.02, 0.005);
  EXPECT_NEAR(static_cast<double>(bytes[2]) / total, 0.01, 0.005);
}

TEST(Scheduler, FifoKeepsItsDepthInFlightWhateverTheGuestWants) {
  SchedulerOptions options;
  options.discipline = Discipline::kFifo;
  Scheduler scheduler(options);
  for (uint64_t key = 1; key <= 20; ++key)
    scheduler.push(request(key, IoClass::kPrefetch), kTimeZero);
  size_t sent = 0;
  while (scheduler.pull(kTimeZero)) ++sent;
  EXPECT_EQ(sent, 8u);
}

// A link of fixed rate and delay, one queue: when does a request sent at `now` come back?
struct Link {
  double rate_bytes_per_s;
  Nanos round_trip;
  Time free_at = kTimeZero;
  Time send(uint64_t bytes, Time now) {
    free_at = std::max(free_at, now + round_trip / 2) +
              from_seconds(static_cast<double>(bytes) / rate_bytes_per_s);
    return free_at + round_trip / 2;
  }
};

struct LinkCase {
  double rate_bytes_per_s;
  Nanos round_trip;
};
class SchedulerOnALink : public testing::TestWithParam<LinkCase> {};

// For as long as several windows of what is learned of the link.
TEST_P(SchedulerOnALink, PrefetchFillsTheLinkAndACriticalReadWaitsForAboutAChunk) {
  Link link{GetParam().rate_bytes_per_s, GetParam().round_trip};
  Scheduler scheduler({});
  std::multimap<Time, Request> coming;
  Time now = kTimeZero;
  uint64_t key = 1;
  uint64_t prefetched = 0;
  Nanos worst_critical{0};
  std::map<uint64_t, Time> asked_at;
  Time next_critical = kTimeZero + 2s;
  while (now < kTimeZero + 60s) {
    while (scheduler.stats(IoClass::kPrefetch).queued < 8)
      scheduler.push(request(key++, IoClass::kPrefetch), now);
    if (now >= next_critical) {
      asked_at[key] = now;
      scheduler.push(request(key++, IoClass::kCritical), now);
      next_critical = now + 300ms;
    }
    while (const auto sent = scheduler.pull(now))
      coming.emplace(link.send(sent->bytes, now), *sent);
    const auto next = coming.begin();
    now = std::min(next->first, std::max(next_critical, now + 1ns));
    if (now < next->first) continue;
    const Request done = next->second;
    coming.erase(next);
    scheduler.on_complete(done.key, done.bytes, now);
    if (done.io_class == IoClass::kPrefetch) prefetched += done.bytes;
    if (asked_at.contains(done.key))
      worst_critical = std::max(worst_critical, now - asked_at[done.key]);
  }
  const double chunk_s = kChunk / link.rate_bytes_per_s;
  const double alone_s = to_seconds(link.round_trip) + chunk_s;
  EXPECT_GT(static_cast<double>(prefetched), 0.95 * 60 * link.rate_bytes_per_s);
  EXPECT_LT(to_seconds(worst_critical), alone_s + 3 * chunk_s);
  EXPECT_NEAR(scheduler.link().rate_bytes_per_s / link.rate_bytes_per_s, 1.0, 0.25);
}

INSTANTIATE_TEST_SUITE_P(Links, SchedulerOnALink,
                         testing::Values(LinkCase{2.5e6, 20ms}, LinkCase{12.5e6, 5ms},
                                         LinkCase{125e6, 1ms}));

TEST(TokenBucket, GivesTheBurstThenTheRate) {
  TokenBucket bucket({1000, 500});
  Time now = kTimeZero + 1s;
  EXPECT_TRUE(bucket.take(400, now));
  EXPECT_TRUE(bucket.take(400, now));  // 100 were left: into debt
  EXPECT_FALSE(bucket.take(1, now));
  EXPECT_GT(bucket.ready_at(now), now + 300ms);
  EXPECT_TRUE(bucket.take(1, bucket.ready_at(now)));
}

TEST(TokenBucket, NoRateMeansNoLimit) {
  TokenBucket bucket({});
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(bucket.take(1 << 30, kTimeZero));
}

}  // namespace
}  // namespace forerun::iosched
