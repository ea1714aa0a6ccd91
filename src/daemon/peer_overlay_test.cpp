#include "daemon/peer_overlay.h"

#include <sys/socket.h>

namespace forerun::daemon {
namespace {

using iosched::IoClass;

// A frozen overlay whose bytes tell where they stand.
class FakeOverlay final : public disk::OverlaySource {
 public:
  Result<disk::OverlayContents> contents() override {
    disk::OverlayContents held;
    held.pull_id = 7;
    held.size_bytes = 1 << 20;
    held.runs = {{3, 2, disk::BlockState::kData}, {9, 1, disk::BlockState::kZero}};
    return held;
  }
  Result<uint64_t> read(ByteRange range, MutableByteView out, IoClass) override {
    if (range.end() > (1 << 20)) return fail(ErrorCode::kInvalid, "no such blocks");
    std::fill(out.begin(), out.end(), std::byte(range.offset / 4096));
    return disk::piece_checksum(7, range.offset, out);
  }
  void stop() override {}
};

struct Hosts {
  Hosts() {
    int ends[2];
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    source = std::make_shared<net::PeerConnection>(
        nullptr, std::make_unique<os::SocketStream>(os::Fd(ends[0])));
    target = std::make_shared<net::PeerConnection>(
        nullptr, std::make_unique<os::SocketStream>(os::Fd(ends[1])));
  }
  std::shared_ptr<net::PeerConnection> source, target;
};

TEST(PeerOverlay, ReadsWhatTheOtherHostHas) {
  Hosts hosts;
  const PeerOverlayServer server(*hosts.source, std::make_shared<FakeOverlay>());
  PeerOverlay overlay(hosts.target);
  const auto contents = overlay.contents();
  ASSERT_TRUE(contents) << contents.error().message;
  EXPECT_EQ(contents->pull_id, 7u);
  EXPECT_EQ(contents->runs, FakeOverlay().contents()->runs);
  for (const IoClass io_class : {IoClass::kCritical, IoClass::kBackground}) {
    Buffer out(8192);
    const auto checksum = overlay.read({5 * 4096, out.size()}, out, io_class);
    ASSERT_TRUE(checksum);
    EXPECT_EQ(out, Buffer(8192, std::byte{5}));
    EXPECT_EQ(*checksum, disk::piece_checksum(7, 5 * 4096, out));
  }
  EXPECT_GT(server.sent_bytes(), 2 * 8192u);
}

TEST(PeerOverlay, ManyReadAtOnce) {
  Hosts hosts;
  const PeerOverlayServer server(*hosts.source, std::make_shared<FakeOverlay>());
  PeerOverlay overlay(hosts.target);
  std::vector<std::jthread> readers;
  for (uint64_t reader = 0; reader < 4; ++reader)
    readers.emplace_back([&, reader] {
      for (uint64_t i = 0; i < 16; ++i) {
        const uint64_t block = reader * 16 + i;
        Buffer out(4096);
        EXPECT_TRUE(overlay.read({block * 4096, 4096}, out,
                                 i % 2 == 0 ? IoClass::kCritical : IoClass::kBackground));
        EXPECT_EQ(out, Buffer(4096, std::byte(block)));
      }
    });
}

TEST(PeerOverlay, TellsWhyABlockDoesNotCome) {
  Hosts hosts;
  const PeerOverlayServer server(*hosts.source, std::make_shared<FakeOverlay>());
  PeerOverlay overlay(hosts.target);
  Buffer out(4096);
  const auto read = overlay.read({1 << 20, 4096}, out, IoClass::kCritical);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::kInvalid);
  EXPECT_EQ(read.error().message, "no such blocks");
}

TEST(PeerOverlay, EndsWithTheConnection) {
  Hosts hosts;
  PeerOverlay overlay(hosts.target);
  std::jthread waits([&] {
    Buffer out(4096);
    EXPECT_EQ(overlay.read({0, 4096}, out, IoClass::kCritical).error().code,
              ErrorCode::kUnavailable);
  });
  hosts.source.reset();
  waits.join();
  EXPECT_FALSE(overlay.contents());
}

TEST(PeerOverlay, RefusesMoreThanItAskedFor) {
  Hosts hosts;
  PeerOverlay overlay(hosts.target);
  std::jthread liar([&] {
    Buffer request(22);
    EXPECT_TRUE(hosts.source->read_exact(net::PeerChannel::kDisk, request));
    Buffer answer(21 + 8192);
    answer[7] = request[7];             // its id
    answer[19] = std::byte{8192 >> 8};  // a length that was not asked for
    EXPECT_TRUE(hosts.source->write(net::PeerChannel::kDisk, answer));
  });
  Buffer out(4096);
  EXPECT_EQ(overlay.read({0, 4096}, out, IoClass::kCritical).error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace forerun::daemon
