// A client of our own HTTP API over a unix socket. Uses libcurl; one connection is kept between
// requests.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"
#include "core/time.h"

namespace forerun::net {

struct HttpClientOptions {
  std::string unix_socket;
  Nanos timeout = std::chrono::minutes(10);  // of one whole request
  size_t body_bytes_max = 64 << 20;          // of an answer
};

struct HttpReply {
  int status = 0;
  std::string content_type;
  std::string body;
};

// One thread.
class HttpClient {
 public:
  explicit HttpClient(HttpClientOptions options);
  ~HttpClient();

  // Sends one request and returns whatever is answered, failures of the server (status 4xx, 5xx)
  // included. `target` begins with '/'. ERRORS: kUnavailable (nobody listens, or the connection
  // broke), kDenied (of the socket), kTimedOut, kTooLarge.
  Result<HttpReply> request(std::string_view method, std::string_view target,
                            std::string_view body = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace forerun::net
