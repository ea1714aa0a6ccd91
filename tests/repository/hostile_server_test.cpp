// HttpSource against servers that lie, stall, cut and redirect.
#include <gtest/gtest.h>

#include <thread>

#include "net/http_source.h"
#include "os/socket.h"

namespace forerun {
namespace {

using net::HttpSource;

// Answers each connection by `script` on a thread of its own, one connection after the other.
class ScriptedServer {
 public:
  using Script = std::function<void(os::SocketStream&)>;

  explicit ScriptedServer(Script script) : script_(std::move(script)) {
    auto listener = os::listen_tcp("127.0.0.1", 0);
    EXPECT_TRUE(listener);
    listener_ = std::move(*listener);
    port_ = *os::local_port(listener_.get());
    thread_ = std::thread([this] { serve(); });
  }
  ~ScriptedServer() {
    stopping_ = true;
    if (os::connect_tcp("127.0.0.1", port_, 1s))
      thread_.join();
    else
      thread_.detach();
  }
  std::unique_ptr<HttpSource> source() const {
    return std::move(
        *HttpSource::create({.base_url = url(), .connect_timeout = 1s, .stall_timeout = 1s}));
  }
  std::string url() const { return fmt::format("http://127.0.0.1:{}", port_); }
  int served() const { return served_; }

 private:
  void serve() {
    while (true) {
      auto connection = os::accept_connection(listener_.get(), 60s);
      if (stopping_ || !connection) return;
      ++served_;
      os::SocketStream stream(std::move(*connection));
      (void)stream.set_timeout(5s);
      std::byte request[4096];
      if (stream.read_some(request)) script_(stream);
    }
  }

  const Script script_;
  os::Fd listener_;
  uint16_t port_ = 0;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> served_ = 0;
  std::thread thread_;
};

void say(os::SocketStream& stream, std::string_view text) {
  (void)stream.write_bytes(as_bytes(text));
}
// Waits until the client is gone.
void hang(os::SocketStream& stream) {
  std::byte more[512];
  for (auto got = stream.read_some(more); got && *got > 0;) got = stream.read_some(more);
}

ErrorCode code_of(const ScriptedServer& server, size_t size_max = 1000) {
  const auto data = server.source()->fetch("chunks/aa/x", size_max);
  return data ? ErrorCode::kInternal : data.error().code;
}

TEST(HostileServer, AnnouncingTooMuchIsTooLargeAtOnce) {
  const ScriptedServer server([](os::SocketStream& stream) {
    say(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\nx");
    hang(stream);
  });
  EXPECT_EQ(code_of(server), ErrorCode::kTooLarge);
}

TEST(HostileServer, SendingWithoutEndIsTooLargeAtTheLimit) {
  const ScriptedServer server([](os::SocketStream& stream) {
    say(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    const std::string block = "1000\r\n" + std::string(4096, 'x') + "\r\n";
    while (stream.write_bytes(as_bytes(block))) {
    }
  });
  EXPECT_EQ(code_of(server, 100'000), ErrorCode::kTooLarge);
}

TEST(HostileServer, ExactlyTheLimitIsFine) {
  const ScriptedServer server([](os::SocketStream& stream) {
    say(stream, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc");
  });
  EXPECT_EQ(code_of(server, 3), ErrorCode::kInternal);
}

TEST(HostileServer, CuttingTheBodyIsUnavailable) {
  const ScriptedServer server([](os::SocketStream& stream) {
    say(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
  });
  EXPECT_EQ(code_of(server), ErrorCode::kUnavailable);
}

TEST(HostileServer, StallingInTheBodyIsATimeOut) {
  const ScriptedServer server([](os::SocketStream& stream) {
    say(stream, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
    hang(stream);
  });
  EXPECT_EQ(code_of(server), ErrorCode::kTimedOut);
}

TEST(HostileServer, NeverAnsweringIsATimeOut) {
  const ScriptedServer server([](os::SocketStream& stream) { hang(stream); });
  EXPECT_EQ(code_of(server), ErrorCode::kTimedOut);
}

TEST(HostileServer, ClosingAtOnceIsUnavailable) {
  const ScriptedServer server([](os::SocketStream&) {});
  EXPECT_EQ(code_of(server), ErrorCode::kUnavailable);
}

TEST(HostileServer, TalkingNonsenseIsUnavailable) {
  const ScriptedServer server(
      [](os::SocketStream& stream) { say(stream, "SSH-2.0-OpenSSH_9.2\r\n\r\n"); });
  EXPECT_EQ(code_of(server), ErrorCode::kUnavailable);
}

TEST(HostileServer, AHugeErrorPageIsNotReadToItsEnd) {
  const ScriptedServer server([](os::SocketStream& stream) {
    say(stream, "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n");
    const std::string block = "1000\r\n" + std::string(4096, 'x') + "\r\n";
    while (stream.write_bytes(as_bytes(block))) {
    }
  });
  EXPECT_EQ(code_of(server), ErrorCode::kNotFound);
}

TEST(HostileServer, MayNotRedirectToAFile) {
  for (const char* target :
       {"file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x", "dict://127.0.0.1/x"}) {
    const ScriptedServer server([target](os::SocketStream& stream) {
      say(stream,
          fmt::format("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", target));
    });
    EXPECT_EQ(code_of(server), ErrorCode::kDenied) << target;
  }
}

TEST(HostileServer, MayRedirectThreeTimesOnly) {
  const ScriptedServer server([](os::SocketStream& stream) {
    say(stream,
        "HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
  });
  EXPECT_EQ(code_of(server), ErrorCode::kUnsupported);
  EXPECT_EQ(server.served(), 4);
}

TEST(HostileServer, NobodyThereIsUnavailable) {
  const auto source = HttpSource::create({.base_url = "http://127.0.0.1:1"});
  EXPECT_EQ((*source)->fetch("x", 10).error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace forerun
