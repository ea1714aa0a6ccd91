// Without a network: what it refuses by itself. tests/repository has it meet real and hostile
// servers.
#include "net/http_source.h"

#include <gtest/gtest.h>

namespace forerun::net {
namespace {

ErrorCode code_of(HttpOptions options) {
  const auto source = HttpSource::create(std::move(options));
  return source ? ErrorCode::kInternal : source.error().code;
}

TEST(HttpSource, TakesPlainUrls) {
  for (const char* url :
       {"http://h", "https://h/", "http://127.0.0.1:8080/a/b//", "http://[::1]:80/x"}) {
    EXPECT_TRUE(HttpSource::create({.base_url = url})) << url;
  }
  EXPECT_EQ((*HttpSource::create({.base_url = "http://h/repo/"}))->name(), "http://h/repo");
}

TEST(HttpSource, RefusesOtherUrls) {
  for (const char* url :
       {"", "h", "ftp://h/x", "file:///etc/passwd", "http://", "http://user:password@h/",
        "http://u@h", "http://h/?a=b", "http://h/#a", "http://h:99999/", "gopher://h", "HTTP:/h"}) {
    EXPECT_EQ(code_of({.base_url = url}), ErrorCode::kInvalid) << url;
  }
}

TEST(HttpSource, RefusesHalfAClientCertificate) {
  EXPECT_EQ(code_of({.base_url = "https://h", .client_certificate_file = "c.pem"}),
            ErrorCode::kInvalid);
  EXPECT_EQ(code_of({.base_url = "https://h", .client_key_file = "k.pem"}), ErrorCode::kInvalid);
}

TEST(HttpSource, RefusesTimeoutsThatNeverEnd) {
  EXPECT_EQ(code_of({.base_url = "http://h", .connect_timeout = 0s}), ErrorCode::kInvalid);
  EXPECT_EQ(code_of({.base_url = "http://h", .stall_timeout = 0s}), ErrorCode::kInvalid);
  EXPECT_EQ(code_of({.base_url = "http://h", .rate_bytes_per_s_min = 0}), ErrorCode::kInvalid);
}

TEST(HttpSource, AsksForNoPathButAnObjects) {
  const auto source = HttpSource::create({.base_url = "http://127.0.0.1:9"});
  for (const char* path : {"../x", "a?b", "a b", "", "/a", "a%2fb"}) {
    EXPECT_EQ((*source)->fetch(path, 10).error().code, ErrorCode::kInvalid) << path;
  }
}

TEST(HttpSource, TellsPassingFromLastingAnswers) {
  EXPECT_EQ(code_of_http_status(404), ErrorCode::kNotFound);
  EXPECT_EQ(code_of_http_status(410), ErrorCode::kNotFound);
  EXPECT_EQ(code_of_http_status(403), ErrorCode::kDenied);
  for (const long status : {408, 425, 429, 500, 502, 503, 504}) {
    EXPECT_EQ(code_of_http_status(status), ErrorCode::kUnavailable) << status;
  }
  for (const long status : {0, 100, 204, 206, 304, 400, 418, 600}) {
    EXPECT_EQ(code_of_http_status(status), ErrorCode::kUnsupported) << status;
  }
}

}  // namespace
}  // namespace forerun::net
