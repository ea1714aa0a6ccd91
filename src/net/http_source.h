// A repository behind any static web server, over http or https: docs/format_repository.md.
#pragma once

#include <memory>
#include <string>

#include "net/http_transfer.h"
#include "repository/source.h"

namespace forerun::net {

struct HttpOptions {
  std::string base_url;  // "https://repo.example/forerun": no user, query or fragment
  std::string ca_file;   // PEM; empty: the system's authorities
  std::string client_certificate_file;  // PEM; empty: none
  std::string client_key_file;
  std::string proxy;           // empty: none, whatever the environment says
  Nanos connect_timeout = 5s;  // these four: as in TransferOptions
  Nanos stall_timeout = 10s;
  uint64_t rate_bytes_per_s_min = 16 * kKiB;
  size_t idle_connections_max = 32;
};

// Thread-safe; a fetch blocks its thread. Up to 3 redirects are followed, to http or https only,
// and from https only to https. A process that uses https must ignore SIGPIPE.
class HttpSource final : public repository::Source {
 public:
  // ERRORS: kInvalid: the URL or a combination of options cannot be used.
  static Result<std::unique_ptr<HttpSource>> create(HttpOptions options);

  // ERRORS: kNotFound (404, 410); kTooLarge, as soon as a header or the body shows it; kUnavailable
  // (no connection, a cut transfer, 408, 425, 429, 5xx); kTimedOut; kDenied (401, 403,
  // certificates, forbidden redirects); kInvalid (the path); kUnsupported (any other answer).
  Result<Buffer> fetch(const std::string& path, size_t size_max) override;
  // Reads images.json. ERRORS: as fetch; kUnsupported if there is none.
  Result<std::vector<std::string>> list_images() override;
  std::string_view name() const override { return base_url_; }

 private:
  HttpSource(std::string base_url, std::unique_ptr<TransferPool> pool)
      : base_url_(std::move(base_url)), pool_(std::move(pool)) {}

  const std::string base_url_;
  const std::unique_ptr<TransferPool> pool_;
};

}  // namespace forerun::net
