#include "iosched/slot_queue.h"

#include <gtest/gtest.h>

#include "iosched/flush_watch.h"

namespace forerun::iosched {
namespace {

const Time kNow = kTimeZero + 1s;

Request request(uint64_t key, IoClass io_class, uint32_t vm = 1, uint32_t bytes = 4096) {
  return {key, io_class, VmId{vm}, bytes, kTimeZero};
}

TEST(SlotQueue, CriticalGoesFirstAndTheRestKeepsToItsPlaces) {
  SlotQueue queue({.places = 4, .places_below_critical = 2});
  queue.push(request(1, IoClass::kBackground), kNow);
  queue.push(request(2, IoClass::kPrefetch), kNow);
  queue.push(request(3, IoClass::kCritical), kNow);
  EXPECT_EQ(queue.pull(0, 0, kNow)->key, 3u);
  EXPECT_FALSE(queue.pull(2, 2, kNow));
  EXPECT_EQ(queue.pull(2, 1, kNow)->key, 2u);
  EXPECT_EQ(queue.pull(2, 0, kNow)->key, 1u);
  EXPECT_EQ(queue.size(), 0u);
}

TEST(SlotQueue, NobodyGoesWhenEveryPlaceIsTaken) {
  SlotQueue queue({.places = 4, .places_below_critical = 2});
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
  queue.set_weight(VmId{2}, 300, kNow);
  for (uint64_t key = 0; key < 800; ++key)
    queue.push(request(key, IoClass::kCritical, 1 + key % 2), kNow);
  int of_second = 0;
  for (int i = 0; i < 400; ++i) of_second += queue.pull(0, 0, kNow)->vm == VmId{2} ? 1 : 0;
  EXPECT_NEAR(of_second, 300, 2);
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
