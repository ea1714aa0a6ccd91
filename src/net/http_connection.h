// An HTTP/1.1 connection to a server, for JSON that is posted: answers, and answers that go on for
// as long as the server has something to say. Beast parses, over the house's sockets and TLS.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"
#include "core/time.h"
#include "net/tls.h"

namespace forerun::net {

struct HttpEndpoint {
  bool is_https = false;
  std::string host;  // a name or an address, without brackets
  uint16_t port = 0;
  std::string name() const;  // "https://[::1]:2379"
};
// Returns the parts of "http://10.0.0.1:2379" or "https://etcd1.example:2379"; nothing may follow
// the port. ERRORS: kInvalid.
Result<HttpEndpoint> parse_endpoint(const std::string& url);

// One thread, but for shut_down().
class HttpConnection {
 public:
  struct Options {
    Nanos connect_timeout = std::chrono::seconds(1);  // includes TLS
    size_t header_bytes_max = 16 << 10;
    size_t body_bytes_max = 16 << 20;  // of an answer that is read whole
  };
  struct Answer {
    int status = 0;
    std::string body;
  };

  // `tls` is needed for https, and outlives the connection, as `clock` does. ERRORS: kUnavailable,
  // kTimedOut, kDenied: certificates; kInvalid.
  static Result<std::unique_ptr<HttpConnection>> connect(const HttpEndpoint& endpoint,
                                                         TlsClient* tls, const Clock& clock,
                                                         const Options& options);
  ~HttpConnection();

  // Posts JSON and returns the whole answer, whatever its status. `timeout` is of all of it. After
  // an error the connection is of no more use. ERRORS: kUnavailable, kTimedOut; kTooLarge;
  // kCorrupt: it is no HTTP.
  Result<Answer> post(const std::string& target, std::string_view body, Nanos timeout);
  // Posts JSON and returns the status once the answer's header is here. Its body is read by
  // read_more(), and the connection is used for nothing else.
  Result<int> begin_post(const std::string& target, std::string_view body, Nanos timeout);
  // Returns the next bytes of the answer, or none at its end. ERRORS: as post(); after kTimedOut,
  // which says that none came, it may be called again.
  Result<std::string> read_more(Nanos timeout);

  // Returns whether another post() can be tried: the last answer was read whole, and the server has
  // not hung up since.
  bool is_reusable() const;
  // Ends all that waits, from any thread.
  void shut_down();

 private:
  struct Impl;
  explicit HttpConnection(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace forerun::net
