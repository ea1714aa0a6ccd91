#include "lab/link.h"

#include <gtest/gtest.h>

namespace forerun::lab {
namespace {

Frame frame_of(size_t wire_size, uint8_t mark = 0) {
  auto frame = std::make_shared<Buffer>(kVnetHeaderBytes + wire_size);
  frame->back() = std::byte{mark};
  return frame;
}

Time at(Nanos span) { return kTimeZero + span; }

uint8_t mark_of(const std::optional<Frame>& frame) {
  return frame ? std::to_integer<uint8_t>((*frame)->back()) : 0;
}

TEST(Link, DeliversAfterTheDelayAndNotBefore) {
  Link link({.delay = 5ms});
  link.send(frame_of(100, 7), at(1ms));
  EXPECT_EQ(link.next(), at(6ms));
  EXPECT_FALSE(link.take(at(6ms) - 1ns));
  EXPECT_EQ(mark_of(link.take(at(6ms))), 7);
  EXPECT_EQ(link.next(), kTimeNever);
  EXPECT_EQ(link.counters(), (LinkCounters{.frames = 1, .bytes = 100}));
}

TEST(Link, SerialisesFramesOneAfterTheOther) {
  Link link({.delay = 10ms, .rate_bytes_per_s = 1'000'000});
  for (int i = 0; i < 3; ++i) link.send(frame_of(1000), at(0ms));
  EXPECT_TRUE(link.take(at(11ms)));
  EXPECT_FALSE(link.take(at(12ms) - 1ns));
  EXPECT_TRUE(link.take(at(12ms)));
  EXPECT_TRUE(link.take(at(13ms)));
  EXPECT_FALSE(link.take(at(1h)));
}

TEST(Link, AnIdleWireSavesNoRateForLater) {
  Link link({.rate_bytes_per_s = 1'000'000});
  link.send(frame_of(1000), at(0ms));
  EXPECT_TRUE(link.take(at(1ms)));
  link.send(frame_of(1000), at(10s));
  EXPECT_EQ(link.next(), at(10s + 1ms));
}

TEST(Link, DropsAndCountsWhatTheQueueCannotHold) {
  Link link({.rate_bytes_per_s = 1000, .queue_bytes_max = 3000});
  for (int i = 0; i < 5; ++i) link.send(frame_of(1000), at(0ms));
  EXPECT_EQ(link.counters().dropped, 2u);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(link.take(at(10s)));
  EXPECT_FALSE(link.take(at(10s)));
}

TEST(Link, AFrameLargerThanTheQueuePassesAlone) {
  Link link({.rate_bytes_per_s = 1'000'000, .queue_bytes_max = 100});
  link.send(frame_of(1000), at(0ms));
  EXPECT_TRUE(link.take(at(1ms)));
}

TEST(Link, BoundsWhatTravelsOnALinkWithoutRate) {
  Link link({.delay = 60s});
  const Frame frame = frame_of(64 * kKiB);
  for (size_t i = 0; i < kLinkFlightMax / (64 * kKiB) + 10; ++i) link.send(frame, at(0ms));
  EXPECT_EQ(link.counters().dropped, 10u);
}

TEST(Link, CuttingLosesWhatIsOnItsWay) {
  Link link({.delay = 5ms, .rate_bytes_per_s = 1'000'000});
  link.send(frame_of(1000), at(0ms));  // travels at 2 ms
  link.send(frame_of(5000), at(0ms));  // waits then
  link.set({.is_up = false}, at(2ms));
  link.send(frame_of(1000), at(3ms));
  link.set({}, at(4ms));
  EXPECT_FALSE(link.take(at(1s)));
  EXPECT_EQ(link.counters().cut, 3u);
  link.send(frame_of(100), at(2s));
  EXPECT_TRUE(link.take(at(2s)));
}

TEST(Link, ANewRateHoldsForTheFrameThatIsBeingSerialised) {
  Link link({.rate_bytes_per_s = 125});
  link.send(frame_of(12'500), at(0ms));  // 100 s
  link.send(frame_of(12'500), at(0ms));
  link.set({.rate_bytes_per_s = 12'500'000}, at(10s));
  EXPECT_TRUE(link.take(at(10s)));
  EXPECT_TRUE(link.take(at(10s + 2ms)));
}

TEST(Link, AShorterDelayLetsNothingOvertake) {
  Link link({.delay = 50ms});
  link.send(frame_of(100, 1), at(0ms));
  link.set({.delay = 1ms}, at(10ms));
  link.send(frame_of(100, 2), at(10ms));
  EXPECT_FALSE(link.take(at(49ms)));
  EXPECT_EQ(mark_of(link.take(at(50ms))), 1);
  EXPECT_EQ(mark_of(link.take(at(50ms))), 2);
}

TEST(Link, CountsTheHeadersOfSegmentsYetToBeCut) {
  Buffer frame(kVnetHeaderBytes + 54 + 10 * 1446);
  EXPECT_EQ(wire_bytes(frame), 54u + 14'460u);
  frame[1] = std::byte{1};     // VIRTIO_NET_HDR_GSO_TCPV4
  frame[2] = std::byte{54};    // hdr_len
  frame[4] = std::byte{0xA6};  // gso_size 1446
  frame[5] = std::byte{0x05};
  EXPECT_EQ(wire_bytes(frame), 10u * (54 + 1446));
  frame[4] = std::byte{1};  // a segment of a byte is not believed
  frame[5] = std::byte{0};
  EXPECT_EQ(wire_bytes(frame), 54u + 14'460u);
}

TEST(Link, QueuesFiftyMillisecondsOfItsRate) {
  EXPECT_EQ(default_queue_bytes(25'000'000), 1'250'000u);
  EXPECT_EQ(default_queue_bytes(125), 256 * kKiB);
  EXPECT_EQ(default_queue_bytes(UINT64_MAX), kLinkQueueMax);
}

}  // namespace
}  // namespace forerun::lab
