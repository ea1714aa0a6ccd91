#include "net/prometheus.h"

#include "os/file.h"

namespace forerun::net {
namespace {

constexpr size_t kTokenBytesMax = 16 << 10;
constexpr size_t kReasonBytesMax = 200;

// The beginning of what a server says, for people.
std::string reason_of(ByteView body) {
  std::string reason;
  for (const char c : as_text(body)) {
    if (c == '\n' || reason.size() >= kReasonBytesMax) break;
    reason += c >= 0x20 && c <= 0x7e ? c : '?';
  }
  return reason.empty() ? "" : ": " + reason;
}

Result<std::string> token_of(const std::string& file) {
  FR_TRY(const Buffer bytes, os::read_file(file, kTokenBytesMax));
  std::string token(as_text(bytes));
  while (!token.empty() && (token.back() == '\n' || token.back() == '\r')) token.pop_back();
  for (const char c : token)
    if (c <= 0x20 || c > 0x7e)
      return fail(ErrorCode::kInvalid, fmt::format("{} holds no token of one line", file));
  if (token.empty()) return fail(ErrorCode::kInvalid, fmt::format("{} is empty", file));
  return token;
}

}  // namespace

Prometheus::Prometheus(PrometheusOptions options, std::string url, std::vector<std::string> headers,
                       std::unique_ptr<TransferPool> pool)
    : options_(std::move(options)),
      url_(std::move(url)),
      headers_(std::move(headers)),
      pool_(std::move(pool)) {}

Result<std::unique_ptr<Prometheus>> Prometheus::create(PrometheusOptions options) {
  std::string url = options.url;
  while (url.ends_with('/')) url.pop_back();
  if (const auto parts = parse_repository_url(url); !parts)
    return fail(parts.error().code,
                fmt::format("'{}' is no http or https URL without user, password and query", url));
  std::vector<std::string> headers{"Content-Type: application/x-protobuf",
                                   "Content-Encoding: snappy",
                                   "X-Prometheus-Remote-Read-Version: 0.1.0"};
  if (!options.token_file.empty()) {
    FR_TRY(const std::string token, token_of(options.token_file));
    headers.push_back("Authorization: Bearer " + token);
  }
  TransferOptions transfers;
  transfers.ca_file = options.ca_file;
  transfers.client_certificate_file = options.certificate_file;
  transfers.client_key_file = options.key_file;
  transfers.stall_timeout = options.stall_timeout;
  transfers.rate_bytes_per_s_min = kMiB;
  FR_TRY(auto pool, TransferPool::create(std::move(transfers)));
  return std::unique_ptr<Prometheus>(new Prometheus(std::move(options), url + "/api/v1/read",
                                                    std::move(headers), std::move(pool)));
}

Result<std::vector<telemetry::RemoteSeries>> Prometheus::read(const telemetry::RemoteQuery& query) {
  const Buffer body = telemetry::encode_remote_read(query);
  const Transfer transfer{.attempted = "read " + url_,
                          .method = HttpMethod::kPost,
                          .url = url_,
                          .headers = headers_,
                          .body = body,
                          .size_max = options_.body_bytes_max};
  FR_TRY(const HttpReply reply, pool_->perform(transfer));
  if (reply.status != 200)
    return fail(code_of_http_status(reply.status),
                fmt::format("cannot read {}: the server answers {}{}", url_, reply.status,
                            reason_of(reply.body)));
  auto series = telemetry::decode_remote_read(reply.body, options_.limits);
  if (!series)
    return std::unexpected(std::move(series.error()).within(fmt::format("cannot read {}", url_)));
  return series;
}

}  // namespace forerun::net
