#include "daemon/stall_meter.h"

namespace forerun::daemon {
namespace {

TEST(StallMeter, OverlappingWaitsCountOnce) {
  StallMeter meter(kTimeZero);
  meter.on_wait_begin(kTimeZero + 100ms);
  meter.on_wait_begin(kTimeZero + 150ms);
  meter.on_wait_end(kTimeZero + 200ms, 100ms);
  meter.on_wait_end(kTimeZero + 350ms, 200ms);
  const auto reading = meter.read(kTimeZero + 1s);
  EXPECT_DOUBLE_EQ(reading.stall_seconds, 0.25);
  EXPECT_EQ(reading.waits, 2u);
  EXPECT_FALSE(reading.is_stalled);
  EXPECT_THAT(reading.bin_ms, testing::ElementsAre(0, 100, 100, 50));
}

TEST(StallMeter, WaitUnderWayIsCountedUntilNow) {
  StallMeter meter(kTimeZero);
  meter.on_wait_begin(kTimeZero + 1s);
  const auto reading = meter.read(kTimeZero + 3s);
  EXPECT_TRUE(reading.is_stalled);
  EXPECT_DOUBLE_EQ(reading.stall_seconds, 2.0);
  EXPECT_EQ(reading.waits, 0u);
}

TEST(StallMeter, PercentilesOfKnownWaits) {
  StallMeter meter(kTimeZero);
  for (int i = 1; i <= 100; ++i) {
    meter.on_wait_begin(kTimeZero);
    meter.on_wait_end(kTimeZero, i * 1ms);
  }
  const auto reading = meter.read(kTimeZero);
  EXPECT_NEAR(reading.p50_seconds, 0.050, 0.0011);
  EXPECT_NEAR(reading.p99_seconds, 0.099, 0.0011);
}

}  // namespace
}  // namespace forerun::daemon
