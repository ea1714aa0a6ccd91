#include "net/peer_connection.h"

#include <sys/socket.h>

namespace forerun::net {
namespace {

struct Pair {
  Pair() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    a = std::make_unique<PeerConnection>(nullptr,
                                         std::make_unique<os::SocketStream>(os::Fd(ends[0])));
    b = std::make_unique<PeerConnection>(nullptr,
                                         std::make_unique<os::SocketStream>(os::Fd(ends[1])));
  }
  std::unique_ptr<PeerConnection> a, b;
};

TEST(PeerConnection, CarriesMessagesAndStreamsAtOnce) {
  Pair pair;
  const Buffer bulk(10 << 20, std::byte{7});
  std::jthread writer([&] {
    EXPECT_TRUE(pair.a->write(PeerChannel::kForward, bulk));
    pair.a->end(PeerChannel::kForward);
  });
  EXPECT_TRUE(pair.a->send_message("ready"));
  // The bulk is not read, and fills its window; the message comes nevertheless.
  EXPECT_EQ(*pair.b->receive_message(10s), "ready");
  uint64_t got = 0;
  Buffer chunk(64 << 10);
  for (;;) {
    const auto read = pair.b->read_some(PeerChannel::kForward, chunk);
    ASSERT_TRUE(read);
    if (*read == 0) break;
    got += *read;
  }
  EXPECT_EQ(got, bulk.size());
}

TEST(PeerConnection, LongMessagesArriveWhole) {
  Pair pair;
  const std::string text(1'500'000, 'j');
  std::jthread writer([&] {
    EXPECT_TRUE(pair.a->send_message(text));
    EXPECT_TRUE(pair.a->send_message(""));
  });
  EXPECT_EQ(*pair.b->receive_message(10s), text);
  EXPECT_EQ(*pair.b->receive_message(10s), "");
}

TEST(PeerConnection, WakesWhoWaitsWhenThePeerIsGone) {
  Pair pair;
  pair.a->send_message("last words");
  std::jthread reader([&] {
    Buffer out(10);
    EXPECT_FALSE(pair.b->read_some(PeerChannel::kDisk, out));
  });
  EXPECT_EQ(*pair.b->receive_message(10s), "last words");
  pair.a.reset();
  reader.join();
  EXPECT_EQ(pair.b->receive_message(10s).error().code, ErrorCode::kUnavailable);
  EXPECT_FALSE(pair.b->write(PeerChannel::kDisk, as_bytes("x")));
}

TEST(PeerConnection, APeerThatWasSilentForTooLongIsGoneNotLate) {
  Pair pair;
  pair.b->cut({ErrorCode::kTimedOut, "the peer did not answer in time"});
  const auto received = pair.b->receive_message(10s);
  ASSERT_FALSE(received);
  EXPECT_EQ(received.error().code, ErrorCode::kUnavailable);  // a time-out would mean: ask again
}

TEST(PeerConnection, AMessageThatDoesNotComeIsWaitedForAgain) {
  Pair pair;
  EXPECT_EQ(pair.b->receive_message(1ms).error().code, ErrorCode::kTimedOut);
  EXPECT_TRUE(pair.a->send_message("late"));
  EXPECT_EQ(*pair.b->receive_message(10s), "late");
}

}  // namespace
}  // namespace forerun::net
