#include "net/peer_mux.h"

#include "core/big_endian.h"

namespace forerun::net {
namespace {

Buffer filled(size_t bytes, char with) { return Buffer(bytes, static_cast<std::byte>(with)); }

// Passes everything that `from` may send to `to`; returns the channels of data frames, in order.
std::vector<PeerChannel> pass(PeerMux& from, PeerMux& to, size_t frames_max = 1'000'000) {
  std::vector<PeerChannel> order;
  Buffer frame;
  while (frames_max-- > 0 && from.next_frame(frame)) {
    const auto header = parse_frame_header(ByteView(frame).first(kFrameHeaderBytes));
    EXPECT_TRUE(header);
    EXPECT_EQ(header->payload_bytes, frame.size() - kFrameHeaderBytes);
    EXPECT_TRUE(to.receive(*header, ByteView(frame).subspan(kFrameHeaderBytes)));
    if (header->type == FrameType::kData) order.push_back(header->channel);
  }
  return order;
}

std::string take_all(PeerMux& mux, PeerChannel channel) {
  Buffer out(mux.received_bytes(channel));
  EXPECT_EQ(mux.take(channel, out), out.size());
  return std::string(as_text(out));
}

TEST(PeerMux, CarriesEachChannelInOrder) {
  PeerMux a, b;
  a.send(PeerChannel::kControl, as_bytes("hel"));
  a.send(PeerChannel::kReturn, as_bytes("request"));
  a.send(PeerChannel::kControl, as_bytes("lo"));
  a.end(PeerChannel::kControl);
  pass(a, b);
  EXPECT_FALSE(b.is_at_end(PeerChannel::kControl));
  EXPECT_EQ(take_all(b, PeerChannel::kControl), "hello");
  EXPECT_TRUE(b.is_at_end(PeerChannel::kControl));
  EXPECT_EQ(take_all(b, PeerChannel::kReturn), "request");
  EXPECT_FALSE(b.is_at_end(PeerChannel::kReturn));
}

TEST(PeerMux, UrgentFramesOvertakeBulk) {
  PeerMux a, b;
  a.send(PeerChannel::kForward, filled(32 * kKiB, 'f'));
  a.send(PeerChannel::kDiskBulk, filled(32 * kKiB, 'd'));
  pass(a, b, 1);
  a.send(PeerChannel::kDisk, as_bytes("block"));
  a.send(PeerChannel::kPreempt, as_bytes("page"));
  a.send(PeerChannel::kReturn, as_bytes("request"));
  a.send(PeerChannel::kControl, as_bytes("message"));
  const std::vector<PeerChannel> order = pass(a, b);
  const std::vector<PeerChannel> urgent{PeerChannel::kControl, PeerChannel::kReturn,
                                        PeerChannel::kPreempt, PeerChannel::kDisk};
  EXPECT_TRUE(std::equal(urgent.begin(), urgent.end(), order.begin()));
  // The two that carry bulk take turns.
  EXPECT_EQ(std::count(order.begin() + 4, order.begin() + 8, PeerChannel::kForward), 2);
}

TEST(PeerMux, AChannelThatIsNotReadHoldsBackItselfAlone) {
  PeerMux a, b;
  const uint32_t window = PeerMux::window_bytes(PeerChannel::kReturn);
  uint64_t sent = 0;
  for (;;) {
    const size_t room = a.room(PeerChannel::kReturn);
    if (room == 0) break;
    a.send(PeerChannel::kReturn, filled(room, 'r'));
    pass(a, b);
    sent += room;
  }
  EXPECT_EQ(b.received_bytes(PeerChannel::kReturn), window);
  EXPECT_EQ(sent, window + PeerMux::queue_bytes_max(PeerChannel::kReturn));
  a.send(PeerChannel::kForward, as_bytes("goes on"));
  EXPECT_EQ(pass(a, b).size(), 1u);

  // Once it is read, the rest follows.
  take_all(b, PeerChannel::kReturn);
  pass(b, a);
  EXPECT_FALSE(pass(a, b).empty());
  EXPECT_TRUE(a.is_drained(PeerChannel::kReturn));
}

TEST(PeerMux, AChannelKeepsToItsLimitAndGoesOnAsItIsRead) {
  PeerMux a, b;
  a.limit(PeerChannel::kForward, 96 * kKiB);
  size_t sent = 0, read = 0;
  const auto fill = [&] {
    for (size_t room = 0; (room = a.room(PeerChannel::kForward)) > 0; pass(a, b)) {
      a.send(PeerChannel::kForward, filled(room, 'f'));
      sent += room;
    }
  };
  fill();
  EXPECT_EQ(b.received_bytes(PeerChannel::kForward), 96 * kKiB);
  for (int i = 0; i < 20; ++i) {
    Buffer some(40 * kKiB);
    read += b.take(PeerChannel::kForward, some);
    pass(b, a);  // credit
    pass(a, b);
    fill();
    EXPECT_LE(b.received_bytes(PeerChannel::kForward), 96 * kKiB);
  }
  EXPECT_EQ(read, 20 * 40 * kKiB);
  EXPECT_GE(sent, read);
  PeerMux c, d;
  c.limit(PeerChannel::kForward, 1);
  c.send(PeerChannel::kForward, filled(64 * kKiB, 'f'));
  pass(c, d);
  c.send(PeerChannel::kForward, filled(1, 'f'));
  pass(c, d);
  EXPECT_EQ(d.received_bytes(PeerChannel::kForward), PeerMux::kLimitMin);
}

TEST(PeerMux, KnowsWhatIsUnderWay) {
  PeerMux a, b;
  EXPECT_EQ(a.under_way_bytes(PeerChannel::kForward), 0u);
  a.send(PeerChannel::kForward, filled(40 * kKiB, 'f'));
  EXPECT_EQ(a.under_way_bytes(PeerChannel::kForward), 40 * kKiB);
  pass(a, b);
  EXPECT_EQ(a.under_way_bytes(PeerChannel::kForward), 40 * kKiB);
  take_all(b, PeerChannel::kForward);
  pass(b, a);  // credit
  EXPECT_LE(a.under_way_bytes(PeerChannel::kForward), PeerMux::kToldLate);
}

TEST(PeerMux, RefusesMoreThanTheWindow) {
  PeerMux b;
  const Buffer payload = filled(kFramePayloadBytesMax, 'x');
  const FrameHeader header{FrameType::kData, PeerChannel::kControl, kFramePayloadBytesMax};
  const size_t allowed = PeerMux::window_bytes(PeerChannel::kControl) / kFramePayloadBytesMax;
  for (size_t i = 0; i < allowed; ++i) ASSERT_TRUE(b.receive(header, payload));
  EXPECT_EQ(b.receive(header, payload).error().code, ErrorCode::kCorrupt);
}

TEST(PeerMux, RefusesCreditThatWasNotSpentAndDataAfterTheEnd) {
  PeerMux b;
  BigEndianWriter one;
  one.u32(1);
  EXPECT_FALSE(b.receive({FrameType::kCredit, PeerChannel::kForward, 4}, one.view()));
  ASSERT_TRUE(b.receive({FrameType::kEnd, PeerChannel::kForward, 0}, {}));
  EXPECT_FALSE(b.receive({FrameType::kData, PeerChannel::kForward, 1}, as_bytes("x")));
}

TEST(PeerMux, RefusesFramesThatAreNone) {
  const auto parse = [](std::initializer_list<int> bytes) {
    Buffer header;
    for (const int byte : bytes) header.push_back(static_cast<std::byte>(byte));
    return parse_frame_header(header);
  };
  EXPECT_TRUE(parse({1, 5, 0, 0, 0x20, 0}));
  EXPECT_FALSE(parse({1, 5, 0, 0, 0x20, 1}));  // too long
  EXPECT_FALSE(parse({1, 6, 0, 0, 0, 1}));     // no such channel
  EXPECT_FALSE(parse({0, 0, 0, 0, 0, 1}));
  EXPECT_FALSE(parse({5, 0, 0, 0, 0, 0}));
  EXPECT_FALSE(parse({1, 0, 0, 0, 0, 0}));  // data without any
  EXPECT_FALSE(parse({2, 0, 0, 0, 0, 8}));
  EXPECT_FALSE(parse({3, 0, 0, 0, 0, 1}));
  EXPECT_FALSE(parse({1, 0, 0, 0}));
}

}  // namespace
}  // namespace forerun::net
