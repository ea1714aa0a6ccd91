#include "iosched/slot_queue.h"

#include <gtest/gtest.h>

#include "iosched/flush_watch.h"

namespace forerun::iosched {
namespace {

const Time kNow = kTimeZero + 1s;

Request request(uint64_t key, IoClass io_class, uint32_t vm = 1, uint32_t bytes = 4096) {
  return {key, io_class, VmId{vm}, bytes, kTimeZero};
}

TEST(SlotQueue, CriticalGoesFirst) {
  SlotQueue queue({.places = 4, .places_kept_max = 2});
  queue.push(request(1, IoClass::kBackground), kNow);
  queue.push(request(2, IoClass::kPrefetch), kNow);
  queue.push(request(3, IoClass::kCritical), kNow);
  EXPECT_EQ(queue.pull(0, 0, kNow)->key, 3u);
  EXPECT_EQ(queue.pull(1, 0, kNow)->key, 2u);
  EXPECT_EQ(queue.pull(2, 1, kNow)->key, 1u);
  EXPECT_EQ(queue.size(), 0u);
}

TEST(SlotQueue, WritersHaveEveryPlaceWhereNobodyReads) {
  SlotQueue queue({.places = 4, .places_kept_max = 2});
  for (uint64_t key = 1; key <= 5; ++key) queue.push(request(key, IoClass::kPrefetch), kNow);
  for (uint32_t used = 0; used < 4; ++used) EXPECT_TRUE(queue.pull(used, used, kNow));
  EXPECT_FALSE(queue.pull(4, 4, kNow));
  EXPECT_FALSE(queue.is_watchful(kNow));
}

TEST(SlotQueue, APlaceIsKeptForAReaderAsLongAsItReadsNowAndThen) {
  SlotQueue queue({.places = 4, .places_kept_max = 2});
  queue.push(request(1, IoClass::kCritical, 2), kNow);
  ASSERT_TRUE(queue.pull(0, 0, kNow));
  queue.on_end(VmId{2}, IoClass::kCritical, kNow);
  for (uint64_t key = 2; key <= 9; ++key) queue.push(request(key, IoClass::kPrefetch), kNow);
  EXPECT_FALSE(queue.pull(3, 3, kNow));
  EXPECT_TRUE(queue.is_watchful(kNow));
  // It comes back to a free place, and leaves it.
  queue.push(request(10, IoClass::kCritical, 2), kNow + 100ms);
  EXPECT_EQ(queue.pull(3, 3, kNow + 100ms)->key, 10u);
  EXPECT_FALSE(queue.pull(4, 3, kNow + 100ms));
  queue.on_end(VmId{2}, IoClass::kCritical, kNow + 100ms);
  EXPECT_FALSE(queue.pull(3, 3, kNow + 500ms));
  // After a second of silence the others have it.
  EXPECT_TRUE(queue.pull(3, 3, kNow + 1s));
  EXPECT_FALSE(queue.is_watchful(kNow + 1s));
}

TEST(SlotQueue, AReaderThatFillsThePlacesLeavesOneForWhoReadsOneByOne) {
  SlotQueue queue({.places = 4, .places_kept_max = 2});
  queue.push(request(1, IoClass::kCritical, 2), kNow);
  ASSERT_TRUE(queue.pull(0, 0, kNow));
  for (uint64_t key = 2; key <= 9; ++key) queue.push(request(key, IoClass::kCritical, 1), kNow);
  // The light one's request holds the place that is kept for it.
  for (uint32_t used = 1; used < 4; ++used) EXPECT_EQ(queue.pull(used, 0, kNow)->vm, VmId{1});
  queue.on_end(VmId{2}, IoClass::kCritical, kNow);
  EXPECT_FALSE(queue.pull(3, 0, kNow));
  queue.push(request(10, IoClass::kCritical, 2), kNow);
  EXPECT_EQ(queue.pull(3, 0, kNow)->key, 10u);
}

TEST(SlotQueue, NoMoreThanSoManyPlacesAreKept) {
  SlotQueue queue({.places = 8, .places_kept_max = 3});
  for (uint32_t vm = 1; vm <= 6; ++vm) {
    queue.push(request(vm, IoClass::kCritical, vm), kNow);
    ASSERT_TRUE(queue.pull(0, 0, kNow));
  }
  EXPECT_EQ(queue.kept(kNow), 3u);
  for (uint32_t vm = 1; vm <= 6; ++vm) queue.on_end(VmId{vm}, IoClass::kCritical, kNow);
  queue.push(request(10, IoClass::kPrefetch), kNow);
  EXPECT_FALSE(queue.pull(5, 5, kNow));
  EXPECT_TRUE(queue.pull(4, 4, kNow));
}

TEST(SlotQueue, NobodyGoesWhenEveryPlaceIsTaken) {
  SlotQueue queue({.places = 4, .places_kept_max = 2});
  queue.push(request(1, IoClass::kCritical), kNow);
  EXPECT_FALSE(queue.pull(4, 0, kNow));
  EXPECT_TRUE(queue.pull(3, 0, kNow));
}

TEST(SlotQueue, TheBackgroundIsNotStarved) {
  SlotQueue queue({});
  for (uint64_t key = 1; key <= 1000; ++key) queue.push(request(key, IoClass::kCritical), kNow);
  queue.push(request(2000, IoClass::kBackground), kNow);
  int before = 0;
  while (queue.pull(0, 0, kNow)->key != 2000) ++before;
  EXPECT_GE(before, 90);  // one hundredth of the bytes
  EXPECT_LE(before, 110);
}

TEST(SlotQueue, AVictimGoesAheadOfAnAggressorsLine) {
  SlotQueue queue({});
  for (uint64_t key = 1; key <= 64; ++key)
    queue.push(request(key, IoClass::kCritical, 1, 256 * 1024), kNow);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(queue.pull(0, 0, kNow)->vm, VmId{1});
  queue.push(request(100, IoClass::kCritical, 2), kNow);
  EXPECT_EQ(queue.pull(0, 0, kNow)->key, 100u);
}

TEST(SlotQueue, BytesGoByWeight) {
  SlotQueue queue({});
  queue.set_share(VmId{2}, {.weight = 300}, kNow);
  for (uint64_t key = 0; key < 800; ++key)
    queue.push(request(key, IoClass::kCritical, 1 + key % 2), kNow);
  int of_second = 0;
  for (int i = 0; i < 400; ++i) of_second += queue.pull(0, 0, kNow)->vm == VmId{2} ? 1 : 0;
  EXPECT_NEAR(of_second, 300, 2);
}

TEST(SlotQueue, WhatIsReservedGoesBeforeWeight) {
  SlotQueue queue({});
  queue.set_share(VmId{1}, {.weight = 1, .reserved_bytes_per_s = 40'960}, kNow);
  queue.set_share(VmId{2}, {.weight = 10'000}, kNow);
  for (uint64_t key = 0; key < 800; ++key)
    queue.push(request(key, IoClass::kCritical, 1 + key % 2), kNow);
  int of_first = 0;
  Time now = kNow;
  for (int i = 0; i < 200; ++i, now += 10ms)  // 409,600 bytes a second, of which a tenth
    of_first += queue.pull(0, 0, now)->vm == VmId{1} ? 1 : 0;
  EXPECT_NEAR(of_first, 20, 2);
}

TEST(SlotQueue, ALimitHoldsAllClassesAndSaysWhenItEnds) {
  SlotQueue queue({});
  queue.set_share(VmId{1}, {.limit_bytes_per_s = 40'960}, kNow);
  queue.push(request(1, IoClass::kPrefetch, 1, 40'960), kNow);
  ASSERT_TRUE(queue.pull(0, 0, kNow));
  queue.push(request(2, IoClass::kCritical, 1), kNow);
  EXPECT_FALSE(queue.pull(0, 0, kNow));
  const Time at = queue.released_at(kNow);
  EXPECT_EQ(at, kNow + 900ms);  // but for what may be made up for
  EXPECT_TRUE(queue.pull(0, 0, at));
}

TEST(SlotQueue, WhatDoesNotCountForTheRateIsNotLimited) {
  SlotQueue queue({});
  queue.set_share(VmId{1}, {.limit_bytes_per_s = 4096}, kNow);
  for (uint64_t key = 1; key <= 3; ++key) queue.push(request(key, IoClass::kCritical), 0, kNow);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(queue.pull(0, 0, kNow));
}

TEST(LightFlows, WhoHasManyAtOnceIsNoneUntilItHadFewForAWhile) {
  LightFlows flows;
  for (int i = 0; i < 3; ++i) flows.arrive(VmId{1}, kNow);
  EXPECT_FALSE(flows.is_light(VmId{1}));
  EXPECT_EQ(flows.at_once(kNow), 0u);
  for (int i = 0; i < 3; ++i) flows.start(VmId{1}), flows.finish(VmId{1}, kNow + 10ms);
  flows.arrive(VmId{1}, kNow + 20ms);
  EXPECT_FALSE(flows.is_light(VmId{1}));
  flows.start(VmId{1});
  EXPECT_EQ(flows.started(), 0u);
  flows.arrive(VmId{1}, kNow + 2s);
  EXPECT_TRUE(flows.is_light(VmId{1}));
  EXPECT_EQ(flows.started(), 1u);  // what it has begun is its still
  flows.finish(VmId{1}, kNow + 2s);
  EXPECT_EQ(flows.started(), 0u);
}

TEST(LightFlows, CountsThoseOfAllLightVmsAtOnce) {
  LightFlows flows;
  for (uint32_t vm = 1; vm <= 5; ++vm) flows.arrive(VmId{vm}, kNow);
  EXPECT_EQ(flows.at_once(kNow + 400ms), 5u);
  EXPECT_EQ(flows.at_once(kNow + 1s), 0u);
}

TEST(FlushWatch, WhoFlushesAfterEachWriteWaits) {
  FlushWatch watch;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(watch.on_write(), IoClass::kCritical);
    watch.on_flush();
  }
}

TEST(FlushWatch, WhoWritesOnDoesNot) {
  FlushWatch watch;
  for (int i = 0; i < 100; ++i) watch.on_write();
  EXPECT_EQ(watch.on_write(), IoClass::kPrefetch);
  // … until it flushes after a few.
  for (int i = 0; i < 4; ++i) {
    watch.on_write();
    watch.on_flush();
  }
  EXPECT_EQ(watch.on_write(), IoClass::kCritical);
}

TEST(FlushWatch, FlushesWithoutWritesTellNothing) {
  FlushWatch watch;
  for (int i = 0; i < 100; ++i) watch.on_write();
  for (int i = 0; i < 100; ++i) watch.on_flush();
  EXPECT_EQ(watch.on_write(), IoClass::kPrefetch);
}

}  // namespace
}  // namespace forerun::iosched
