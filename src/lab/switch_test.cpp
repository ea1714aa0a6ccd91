#include "lab/switch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace forerun::lab {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr uint64_t kBroadcast = 0xFFFFFFFFFFFF;

Buffer frame_of(uint64_t destination, uint64_t source) {
  Buffer frame(kVnetHeaderBytes + 60);
  for (size_t i = 0; i < 6; ++i) {
    frame[kVnetHeaderBytes + i] = static_cast<std::byte>(destination >> (40 - 8 * i));
    frame[kVnetHeaderBytes + 6 + i] = static_cast<std::byte>(source >> (40 - 8 * i));
  }
  return frame;
}

// Returns the ports that frames were handed out at.
std::vector<size_t> deliver(Switch& network, Time now) {
  std::vector<size_t> ports;
  network.deliver(now, [&](size_t port, ByteView) { ports.push_back(port); });
  return ports;
}

std::vector<size_t> send(Switch& network, size_t port, const Buffer& frame) {
  network.receive(port, frame, kTimeZero);
  return deliver(network, kTimeZero);
}

TEST(Switch, FloodsWhatItDoesNotKnowAndLearnsWhereAnswersGo) {
  Switch network(3, {});
  EXPECT_THAT(send(network, 0, frame_of(0x02, 0x0A)), ElementsAre(1, 2));
  EXPECT_THAT(send(network, 1, frame_of(0x0A, 0x02)), ElementsAre(0));
  EXPECT_THAT(send(network, 0, frame_of(0x02, 0x0A)), ElementsAre(1));
}

TEST(Switch, SendsBroadcastsToAllOthers) {
  Switch network(3, {});
  EXPECT_THAT(send(network, 1, frame_of(kBroadcast, 0x02)), ElementsAre(0, 2));
}

TEST(Switch, NeverSendsAFrameBackToItsPort) {
  Switch network(2, {});
  send(network, 0, frame_of(kBroadcast, 0x0A));
  EXPECT_THAT(send(network, 0, frame_of(0x0A, 0x0B)), IsEmpty());
}

TEST(Switch, FollowsAnAddressThatMoves) {
  Switch network(3, {});
  send(network, 0, frame_of(kBroadcast, 0x0A));
  EXPECT_THAT(send(network, 2, frame_of(0x0A, 0x0C)), ElementsAre(0));
  send(network, 1, frame_of(kBroadcast, 0x0A));  // announces itself from elsewhere
  EXPECT_THAT(send(network, 2, frame_of(0x0A, 0x0C)), ElementsAre(1));
}

TEST(Switch, DoesNotLearnAGroupAddress) {
  Switch network(3, {});
  send(network, 0, frame_of(kBroadcast, 0x01'00'00'00'00'05));
  EXPECT_THAT(send(network, 1, frame_of(0x01'00'00'00'00'05, 0x0B)), ElementsAre(0, 2));
}

TEST(Switch, ForgetsAllAddressesBeforeItHoldsTooMany) {
  Switch network(3, {});
  send(network, 0, frame_of(kBroadcast, 0x02'00'00'00'00'00));
  for (uint64_t i = 1; i <= kAddressesMax; ++i) {
    network.receive(1, frame_of(0x02'00'00'00'00'00, 0x02'00'00'00'00'00 + i), kTimeZero);
  }
  deliver(network, kTimeZero);
  EXPECT_THAT(send(network, 2, frame_of(0x02'00'00'00'00'00, 0x0C)), ElementsAre(0, 1));
}

TEST(Switch, IgnoresWhatIsNoFrame) {
  Switch network(2, {});
  EXPECT_THAT(send(network, 0, Buffer(kVnetHeaderBytes + kEthernetHeaderBytes - 1)), IsEmpty());
  EXPECT_THAT(send(network, 0, Buffer(kFrameBytesMax + 1)), IsEmpty());
}

TEST(Switch, HasALinkOfItsOwnForEachDirection) {
  Switch network(2, {.delay = 5ms});
  network.set_link(0, 1, {.is_up = false}, kTimeZero);
  network.receive(0, frame_of(kBroadcast, 0x0A), kTimeZero);
  network.receive(1, frame_of(kBroadcast, 0x0B), kTimeZero);
  EXPECT_EQ(network.next(), kTimeZero + 5ms);
  EXPECT_THAT(deliver(network, kTimeZero + 4ms), IsEmpty());
  EXPECT_THAT(deliver(network, kTimeZero + 5ms), ElementsAre(0));
  EXPECT_EQ(network.link(0, 1).counters().cut, 1u);
  EXPECT_EQ(network.next(), kTimeNever);
}

}  // namespace
}  // namespace forerun::lab
