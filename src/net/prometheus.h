// History that a Prometheus keeps, or whatever else answers its remote read.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "net/http_transfer.h"
#include "telemetry/remote_read.h"

namespace forerun::net {

struct PrometheusOptions {
  std::string url;      // "https://metrics.example:9090", or with a prefix of its paths
  std::string ca_file;  // PEM; empty: the system's authorities
  std::string certificate_file, key_file;  // PEM; empty: none is shown
  std::string token_file;                  // holds a bearer token; empty: none is sent
  Nanos stall_timeout = 30s;               // it may look long before its first byte
  size_t body_bytes_max = 64 << 20;        // of an answer, packed
  telemetry::RemoteLimits limits;
};

// Thread-safe; a question blocks its thread. A redirect is not followed.
class Prometheus {
 public:
  // ERRORS: kInvalid: the URL, the options; kNotFound, kDenied, kIo: the token's file.
  static Result<std::unique_ptr<Prometheus>> create(PrometheusOptions options);

  // ERRORS: kUnavailable, kTimedOut, kDenied; kNotFound: nobody answers remote read there;
  // kUnsupported: it refuses, with what it says; kTooLarge, kCorrupt: the answer.
  Result<std::vector<telemetry::RemoteSeries>> read(const telemetry::RemoteQuery& query);
  const std::string& url() const { return url_; }

 private:
  Prometheus(PrometheusOptions options, std::string url, std::vector<std::string> headers,
             std::unique_ptr<TransferPool> pool);
  const PrometheusOptions options_;
  const std::string url_;  // of remote read
  const std::vector<std::string> headers_;
  const std::unique_ptr<TransferPool> pool_;
};

}  // namespace forerun::net
