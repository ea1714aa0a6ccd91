// Client and server together over a unix socket in a folder of the test's own.
#include "net/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <latch>

#include "net/http_client.h"
#include "os/socket.h"

namespace forerun::net {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

HttpResponse echo(const HttpRequest& request) {
  HttpResponse response;
  response.content_type = "text/plain";
  response.body =
      fmt::format("{} {} ?{} {}", request.method, request.path, request.query, request.body);
  return response;
}

class HttpServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/http_server_XXXXXX";
    folder_ = mkdtemp(name);
    options_.unix_path = folder_ + "/s";
    options_.workers = 2;
  }
  void TearDown() override {
    server_.reset();
    std::filesystem::remove_all(folder_);
  }
  void start(HttpHandler handler = echo) {
    auto server = HttpServer::start(options_, std::move(handler));
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }
  HttpClient client() { return HttpClient({.unix_socket = options_.unix_path, .timeout = 20s}); }
  // Sends raw bytes and returns all that comes back until the server closes.
  std::string talk(std::string_view bytes) {
    auto fd = os::connect_unix(options_.unix_path);
    if (!fd) return "cannot connect";
    os::SocketStream stream(std::move(*fd));
    (void)stream.write_bytes(as_bytes(bytes));
    return read_all(stream);
  }
  static std::string read_all(os::ByteStream& stream) {
    std::string answer;
    std::array<std::byte, 1024> chunk;
    while (true) {
      const auto count = stream.read_some(chunk);
      if (!count || *count == 0) return answer;
      answer += as_text(ByteView(chunk).first(*count));
    }
  }

  std::string folder_;
  HttpServerOptions options_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersSeveralRequestsOnOneConnection) {
  start();
  HttpClient http = client();
  const auto first = http.request("POST", "/a/b?c=d", "body");
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_EQ(first->status, 200);
  EXPECT_EQ(first->content_type, "text/plain");
  EXPECT_EQ(first->body, "POST /a/b ?c=d body");
  EXPECT_EQ(http.request("DELETE", "/x")->body, "DELETE /x ? ");
}

TEST_F(HttpServerTest, SocketIsForItsGroup) {
  start();
  struct stat status{};
  ASSERT_EQ(::stat(options_.unix_path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0660u);
}

TEST_F(HttpServerTest, HeadHasNoBody) {
  start();
  const std::string answer = talk("HEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 200"));
  EXPECT_TRUE(answer.ends_with("\r\n\r\n")) << answer;
}

TEST_F(HttpServerTest, RefusesTooLargeABodyAndSaysSo) {
  options_.body_bytes_max = 100;
  start();
  const auto reply = client().request("POST", "/", std::string(101, 'x'));
  ASSERT_TRUE(reply) << reply.error().message;
  EXPECT_EQ(reply->status, 413);
  EXPECT_EQ(client().request("POST", "/", std::string(100, 'x'))->status, 200);
}

TEST_F(HttpServerTest, RefusesTooLargeAHeader) {
  options_.header_bytes_max = 1024;
  start();
  EXPECT_THAT(talk("GET / HTTP/1.1\r\nX: " + std::string(2000, 'x') + "\r\n\r\n"),
              StartsWith("HTTP/1.1 431"));
}

TEST_F(HttpServerTest, RefusesWhatIsNoHttp) {
  start();
  EXPECT_THAT(talk("SSH-2.0-OpenSSH\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(talk("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
              StartsWith("HTTP/1.1 400"));
}

TEST_F(HttpServerTest, ASlowHandlerDelaysNobodyElse) {
  std::latch entered(1), release(1);
  start([&](const HttpRequest& request) {
    if (request.path == "/slow") {
      entered.count_down();
      release.wait();
    }
    return echo(request);
  });
  std::jthread slow([this] { EXPECT_EQ(client().request("GET", "/slow")->status, 200); });
  entered.wait();
  EXPECT_EQ(client().request("GET", "/fast")->body, "GET /fast ? ");
  release.count_down();
}

TEST_F(HttpServerTest, IdleConnectionIsClosed) {
  options_.read_timeout = 1ms;
  start();
  EXPECT_EQ(talk(""), "");
  EXPECT_EQ(talk("GET / HTTP/1.1\r\nHo"), "");
}

TEST_F(HttpServerTest, ConnectionsOverTheLimitAreToldSo) {
  options_.connections_max = 1;
  start();
  HttpClient first = client();
  ASSERT_EQ(first.request("GET", "/")->status, 200);  // and keeps its connection
  EXPECT_EQ(client().request("GET", "/")->status, 503);
  EXPECT_EQ(first.request("GET", "/")->status, 200);
}

TEST_F(HttpServerTest, AHandlerThatThrowsIsA500) {
  start([](const HttpRequest& request) -> HttpResponse {
    return {static_cast<int>(std::string("200").at(request.path.size())), "", "", {}};
  });
  EXPECT_EQ(client().request("GET", "/longer-than-three")->status, 500);
}

TEST_F(HttpServerTest, StopsWhileClientsAreConnected) {
  start();
  HttpClient http = client();
  ASSERT_EQ(http.request("GET", "/")->status, 200);
  server_->stop();
  EXPECT_EQ(http.request("GET", "/").error().code, ErrorCode::kUnavailable);
  EXPECT_FALSE(std::filesystem::exists(options_.unix_path));
}

TEST_F(HttpServerTest, NobodyListeningIsUnavailable) {
  EXPECT_EQ(client().request("GET", "/").error().code, ErrorCode::kUnavailable);
}

TEST_F(HttpServerTest, AnswerOverTheClientsLimitIsRefused) {
  start([](const HttpRequest&) { return HttpResponse{200, "a/b", std::string(2000, 'x'), {}}; });
  HttpClient http({.unix_socket = options_.unix_path, .body_bytes_max = 1000});
  EXPECT_EQ(http.request("GET", "/").error().code, ErrorCode::kTooLarge);
}

TEST_F(HttpServerTest, TcpBeyondLoopbackNeedsTls) {
  options_.tcp_address = "0.0.0.0";
  EXPECT_EQ(HttpServer::start(options_, echo).error().code, ErrorCode::kInvalid);
  options_.tcp_address = "localhost";
  EXPECT_EQ(HttpServer::start(options_, echo).error().code, ErrorCode::kInvalid);
  options_.tcp_address = "127.0.0.1";
  options_.tls.certificate_path = folder_ + "/none.pem";
  EXPECT_EQ(HttpServer::start(options_, echo).error().code, ErrorCode::kInvalid);
}

TEST_F(HttpServerTest, OnTcpABrowserIsRefused) {
  options_.tcp_address = "127.0.0.1";
  start();
  const auto ask = [this](std::string_view headers) {
    auto fd = os::connect_tcp("127.0.0.1", server_->tcp_port(), 5s);
    if (!fd) return std::string("cannot connect");
    os::SocketStream stream(std::move(*fd));
    (void)stream.write_bytes(
        as_bytes(fmt::format("GET / HTTP/1.1\r\nConnection: close\r\n{}\r\n", headers)));
    return read_all(stream);
  };
  EXPECT_THAT(ask("Host: 127.0.0.1:80\r\n"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(ask("Host: evil.example\r\n"), StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(ask("Host: localhost\r\nOrigin: http://evil.example\r\n"),
              StartsWith("HTTP/1.1 403"));
}

}  // namespace
}  // namespace forerun::net
