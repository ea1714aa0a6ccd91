// HttpSource against servers that lie, stall, cut and redirect.
#include <gtest/gtest.h>

#include "net/http_source.h"
#include "server_fixture.h"

namespace forerun {
namespace {

using namespace testing_support;
using net::HttpSource;

ErrorCode code_of(const ScriptedServer& server, size_t size_max = 1000) {
  const auto source =
      HttpSource::create({.base_url = server.url(), .connect_timeout = 1s, .stall_timeout = 1s});
  const auto data = (*source)->fetch("chunks/aa/x", size_max);
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
