#include "net/http_client.h"

#include <curl/curl.h>
#include <unistd.h>

#include <cerrno>

namespace forerun::net {
namespace {

struct EasyDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

struct Sink {
  std::string body;
  size_t bytes_max = 0;
};

size_t append(char* data, size_t, size_t count, void* context) {
  Sink& sink = *static_cast<Sink*>(context);
  if (count > sink.bytes_max - sink.body.size())
    return 0;  // curl then fails with CURLE_WRITE_ERROR
  sink.body.append(data, count);
  return count;
}

Error error_of(CURLcode code, const std::string& socket) {
  switch (code) {
    case CURLE_COULDNT_CONNECT:
      if (::access(socket.c_str(), F_OK) == 0 && ::access(socket.c_str(), W_OK) != 0) {
        return {ErrorCode::kDenied, fmt::format("cannot connect to {}: permission denied", socket),
                EACCES};
      }
      return {ErrorCode::kUnavailable,
              fmt::format("cannot connect to {}: nobody listens there", socket), 0};
    case CURLE_OPERATION_TIMEDOUT:
      return {ErrorCode::kTimedOut, fmt::format("{} gave no answer in time", socket), 0};
    case CURLE_WRITE_ERROR:
      return {ErrorCode::kTooLarge, fmt::format("{} sent too large an answer", socket), 0};
    default:
      return {ErrorCode::kUnavailable,
              fmt::format("cannot talk to {}: {}", socket, curl_easy_strerror(code)), 0};
  }
}

}  // namespace

struct HttpClient::Impl {
  HttpClientOptions options;
  std::unique_ptr<CURL, EasyDeleter> easy;
};

HttpClient::HttpClient(HttpClientOptions options)
    : impl_(std::make_unique<Impl>(
          Impl{std::move(options), std::unique_ptr<CURL, EasyDeleter>(curl_easy_init())})) {}

HttpClient::~HttpClient() = default;

Result<HttpReply> HttpClient::request(std::string_view method, std::string_view target,
                                      std::string_view body) {
  CURL* easy = impl_->easy.get();
  if (!easy) return fail(ErrorCode::kInternal, "cannot initialise libcurl");
  const HttpClientOptions& options = impl_->options;
  const std::string url = fmt::format("http://forerun{}", target);
  const std::string verb(method);
  Sink sink{{}, options.body_bytes_max};
  const std::unique_ptr<curl_slist, ListDeleter> headers(
      curl_slist_append(nullptr, "Content-Type: application/json"));
  curl_easy_reset(easy);  // keeps the connection
  curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, options.unix_socket.c_str());
  curl_easy_setopt(easy, CURLOPT_PROXY, "");  // never by http_proxy
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
  curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, verb.c_str());
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &append);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &sink);
  const auto timeout = std::chrono::duration_cast<std::chrono::milliseconds>(options.timeout);
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
  if (!body.empty()) {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body.data());
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers.get());
  }
  const CURLcode code = curl_easy_perform(easy);
  if (code != CURLE_OK) return std::unexpected(error_of(code, options.unix_socket));
  HttpReply reply;
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  reply.status = static_cast<int>(status);
  const char* type = nullptr;
  curl_easy_getinfo(easy, CURLINFO_CONTENT_TYPE, &type);
  if (type) reply.content_type = type;
  reply.body = std::move(sink.body);
  return reply;
}

}  // namespace forerun::net
