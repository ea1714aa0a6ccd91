#include "net/http_connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "os/clock.h"

namespace forerun::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::HasSubstr;

TEST(HttpEndpoint, IsReadFromAUrl) {
  const auto plain = parse_endpoint("http://10.0.0.1:2379");
  ASSERT_TRUE(plain.has_value());
  EXPECT_EQ(plain->host, "10.0.0.1");
  EXPECT_EQ(plain->port, 2379);
  EXPECT_FALSE(plain->is_https);
  EXPECT_EQ(parse_endpoint("https://[::1]:443")->name(), "https://[::1]:443");
  EXPECT_EQ(parse_endpoint("https://[::1]:443")->host, "::1");
}

TEST(HttpEndpoint, IsNothingElse) {
  for (const char* bad :
       {"", "10.0.0.1:2379", "ftp://a:1", "http://a", "http://a:", "http://:1", "http://a:0",
        "http://a:70000", "http://a:1/", "http://a:1x", "http://user@a:1", "http://a b:1",
        "http://::1:1", "http://[a]:1", "http://a\r\nX:1"})
    EXPECT_FALSE(parse_endpoint(bad).has_value()) << bad;
}

// A server that reads each request and says the next of its lines.
class HttpConnectionTest : public testing::Test {
 protected:
  HttpConnectionTest() : listener_(std::move(*os::listen_tcp("127.0.0.1", 0))) {}

  // Begins to serve one connection; hangs up after the last answer.
  void serve(std::vector<std::string> answers) {
    server_ = std::jthread([this, answers = std::move(answers)] {
      auto fd = os::accept_connection(listener_.get(), seconds(10));
      ASSERT_TRUE(fd.has_value());
      os::SocketStream stream(std::move(*fd));
      for (const std::string& answer : answers) {
        std::string request;
        char next = 0;
        while (!request.ends_with("{}")) {
          const auto got = stream.read_some({reinterpret_cast<std::byte*>(&next), 1});
          if (got.value_or(0) == 0) return;
          request += next;
        }
        requests_ += request;
        if (!stream.write_bytes(as_bytes(answer))) return;
      }
    });
  }
  std::unique_ptr<HttpConnection> connect(HttpConnection::Options options = {}) {
    const uint16_t port = *os::local_port(listener_.get());
    return std::move(
        *HttpConnection::connect({false, "127.0.0.1", port}, nullptr, clock_, options));
  }

  os::SystemClock clock_;
  os::Fd listener_;
  std::string requests_;  // read once the server has ended
  std::jthread server_;
};

TEST_F(HttpConnectionTest, PostsAndReadsAnswersOneAfterAnother) {
  serve({"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
         "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: "
         "chunked\r\n\r\n2\r\nno\r\n1\r\n!\r\n0\r\n\r\n"});
  const auto connection = connect();
  const auto first = connection->post("/v3/a", "{}", seconds(10));
  ASSERT_TRUE(first.has_value()) << first.error().message;
  EXPECT_EQ(first->status, 200);
  EXPECT_EQ(first->body, "ab");
  EXPECT_TRUE(connection->is_reusable());
  const auto second = connection->post("/v3/b", "{}", seconds(10));
  ASSERT_TRUE(second.has_value()) << second.error().message;
  EXPECT_EQ(second->status, 404);
  EXPECT_EQ(second->body, "no!");
  server_.join();
  EXPECT_THAT(requests_, HasSubstr("POST /v3/b HTTP/1.1\r\nHost: 127.0.0.1:"));
  EXPECT_FALSE(connection->is_reusable());
}

TEST_F(HttpConnectionTest, ReadsAnAnswerThatGoesOn) {
  serve({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n4\r\ntwo\n\r\n",
         "4\r\nend\n\r\n0\r\n\r\n"});
  const auto connection = connect();
  EXPECT_EQ(*connection->begin_post("/v3/watch", "{}", seconds(10)), 200);
  std::string all;
  while (all.size() < 8) all += *connection->read_more(seconds(10));
  EXPECT_EQ(all, "one\ntwo\n");
  const auto silent = connection->read_more(milliseconds(1));
  ASSERT_FALSE(silent.has_value());
  EXPECT_EQ(silent.error().code, ErrorCode::kTimedOut);
  connection->shut_down();
}

TEST_F(HttpConnectionTest, RefusesAnAnswerThatIsTooLarge) {
  serve({"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"});
  const auto answer = connect({.body_bytes_max = 999})->post("/", "{}", seconds(10));
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, ErrorCode::kTooLarge);
}

TEST_F(HttpConnectionTest, RefusesChunksThatAreTooMany) {
  serve({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\nabcdef\r\n"});
  const auto answer = connect({.body_bytes_max = 10})->post("/", "{}", seconds(10));
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, ErrorCode::kTooLarge);
}

TEST_F(HttpConnectionTest, RefusesAHeaderThatIsTooLarge) {
  serve({"HTTP/1.1 200 OK\r\nX: " + std::string(2000, 'x')});
  const auto answer = connect({.header_bytes_max = 1000})->post("/", "{}", seconds(10));
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, ErrorCode::kTooLarge);
}

TEST_F(HttpConnectionTest, RefusesWhatIsNoHttp) {
  serve({"* OK IMAP4 ready\r\n\r\n"});
  const auto answer = connect()->post("/", "{}", seconds(10));
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, ErrorCode::kCorrupt);
}

TEST_F(HttpConnectionTest, NoticesAServerThatHangsUp) {
  serve({"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"});
  const auto connection = connect();
  const auto answer = connection->post("/", "{}", seconds(10));
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable);
  EXPECT_FALSE(connection->is_reusable());
  EXPECT_FALSE(connection->post("/", "{}", seconds(10)).has_value());
}

TEST_F(HttpConnectionTest, GivesUpOnAServerThatIsSilent) {
  const auto answer = connect()->post("/", "{}", milliseconds(5));
  ASSERT_FALSE(answer.has_value());
  EXPECT_EQ(answer.error().code, ErrorCode::kTimedOut);
}

TEST_F(HttpConnectionTest, SaysWhomItCouldNotReach) {
  const uint16_t port = *os::local_port(listener_.get());
  listener_ = {};
  const auto refused = HttpConnection::connect({false, "127.0.0.1", port}, nullptr, clock_, {});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(refused.error().message, HasSubstr(fmt::format("http://127.0.0.1:{}", port)));
}

}  // namespace
}  // namespace forerun::net
