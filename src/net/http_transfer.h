// One HTTP exchange over libcurl, and the connections that are kept between them: what the drivers
// of repositories behind HTTP share.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "core/time.h"

namespace forerun::net {

struct HttpUrl {
  bool is_https = false;
  std::string host;  // as in the URL: an IPv6 address stands in brackets
  std::string port;  // empty: the scheme's own
  std::string path;  // "/" at least
};

// Returns the parts of an http or https URL. ERRORS: kInvalid: no such URL, or one with a user, a
// password, a query or a fragment; those would end up in logs, or after an object's path.
Result<HttpUrl> parse_repository_url(const std::string& text);

struct TransferOptions {
  std::string ca_file;                  // PEM; empty: the system's authorities
  std::string client_certificate_file;  // PEM; empty: none
  std::string client_key_file;
  std::string proxy;           // empty: none, whatever the environment says
  Nanos connect_timeout = 5s;  // includes name look-up and TLS
  // Without a byte; whole seconds. Noticed up to 5 s late where bytes came before.
  Nanos stall_timeout = 10s;
  // A transfer may take 30 s plus the time its body and its size_max take at this rate.
  uint64_t rate_bytes_per_s_min = 16 * kKiB;
  size_t idle_connections_max = 32;  // kept open between transfers
  // Schemes to which up to 3 redirects are followed: "http,https". Empty: none is followed.
  std::string redirect_schemes;
};

enum class HttpMethod : uint8_t { kGet, kHead, kPut, kPost, kDelete };

struct Transfer {
  std::string attempted;  // for errors: "fetch http://…"
  HttpMethod method = HttpMethod::kGet;
  std::string url;
  std::vector<std::string> headers;  // "name: value"
  ByteView body;                     // of kPut and kPost; outlives the transfer
  size_t size_max = 0;               // of an answer with status 200
};

struct HttpReply {
  long status = 0;
  Buffer body;                  // of another status than 200: the beginning, as an explanation
  int64_t modified_unix_s = 0;  // Last-Modified; 0: not said
};

// Thread-safe; a transfer blocks its thread. As many connections are open as threads transfer; they
// are kept and reused. Certificates are always verified. A process that uses https must ignore
// SIGPIPE.
class TransferPool {
 public:
  // ERRORS: kInvalid: a combination of options cannot be used.
  static Result<std::unique_ptr<TransferPool>> create(TransferOptions options);
  ~TransferPool();

  // Returns the answer, whatever its status. ERRORS: kTooLarge, as soon as a header or the body
  // shows it; kUnavailable (no connection, a cut transfer); kTimedOut; kDenied (certificates,
  // forbidden redirects); kUnsupported (too many redirects).
  Result<HttpReply> perform(const Transfer& transfer);

 private:
  struct HandleDeleter {
    void operator()(void* handle) const;
  };
  using Handle = std::unique_ptr<void, HandleDeleter>;  // a CURL*

  explicit TransferPool(TransferOptions options) : options_(std::move(options)) {}
  Handle take();
  void give_back(Handle handle);
  void set_options(void* handle) const;

  const TransferOptions options_;
  std::mutex mutex_;
  std::vector<Handle> idle_;  // guarded by mutex_
};

// Returns what an HTTP status other than 200 means to a Source.
ErrorCode code_of_http_status(long status);

}  // namespace forerun::net
