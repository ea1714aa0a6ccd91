#include "net/http_transfer.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <optional>

namespace forerun::net {
namespace {

constexpr long kRedirectsMax = 3;
constexpr size_t kErrorPageMax = 64 * kKiB;  // reading it out keeps the connection
constexpr Nanos kTimeoutBase = 30s;

long milliseconds(Nanos span) {
  return static_cast<long>(std::chrono::duration_cast<std::chrono::milliseconds>(span).count());
}

// One answer under way.
struct Answer {
  CURL* handle = nullptr;
  size_t size_max = 0;
  Buffer body;
  bool is_error_page_cut = false;
  bool is_too_large = false;

  long status() const {
    long value = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &value);
    return value;
  }
  uint64_t announced() const {
    curl_off_t value = -1;
    curl_easy_getinfo(handle, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &value);
    return value < 0 ? 0 : static_cast<uint64_t>(value);
  }
};

size_t on_body(char* data, size_t, size_t size, void* user) {
  Answer& answer = *static_cast<Answer*>(user);
  const ByteView bytes = std::as_bytes(std::span(data, size));
  if (answer.status() != 200) {
    answer.is_error_page_cut = size > kErrorPageMax - answer.body.size();
    if (answer.is_error_page_cut) return 0;  // ends the transfer
    answer.body.insert(answer.body.end(), bytes.begin(), bytes.end());
    return size;
  }
  if (answer.body.empty()) {
    answer.is_too_large = answer.announced() > answer.size_max;
    if (!answer.is_too_large) answer.body.reserve(answer.announced());
  }
  answer.is_too_large = answer.is_too_large || size > answer.size_max - answer.body.size();
  if (answer.is_too_large) return 0;
  answer.body.insert(answer.body.end(), bytes.begin(), bytes.end());
  return size;
}

// `redirected`: the server had sent us elsewhere before it failed.
ErrorCode code_of_curl(CURLcode result, bool redirected) {
  switch (result) {
    case CURLE_OPERATION_TIMEDOUT:
      return ErrorCode::kTimedOut;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
      return ErrorCode::kDenied;
    case CURLE_UNSUPPORTED_PROTOCOL:  // a forbidden redirect, or an answer that is not HTTP
      return redirected ? ErrorCode::kDenied : ErrorCode::kUnavailable;
    case CURLE_TOO_MANY_REDIRECTS:
    case CURLE_URL_MALFORMAT:
      return ErrorCode::kUnsupported;
    default:
      return ErrorCode::kUnavailable;
  }
}

// curl_global_init is not thread-safe by itself before its first return.
Status start_curl() {
  static const CURLcode result = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (result == CURLE_OK) return {};
  return fail(ErrorCode::kInternal,
              fmt::format("cannot start libcurl: {}", curl_easy_strerror(result)));
}

std::optional<std::string> part_of(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, 0) != CURLUE_OK) return std::nullopt;
  std::optional<std::string> copy(text);
  curl_free(text);
  return copy;
}

struct ListDeleter {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using HeaderList = std::unique_ptr<curl_slist, ListDeleter>;

HeaderList list_of(const std::vector<std::string>& headers) {
  HeaderList list;
  for (const std::string& header : headers) {
    curl_slist* const longer = curl_slist_append(list.get(), header.c_str());
    if (longer == nullptr) return nullptr;
    (void)list.release();
    list.reset(longer);
  }
  return list;
}

void set_method(CURL* curl, const Transfer& transfer) {
  switch (transfer.method) {
    case HttpMethod::kGet:
      break;
    case HttpMethod::kHead:
      curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
      break;
    case HttpMethod::kDelete:
      curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, "DELETE");
      break;
    case HttpMethod::kPut:  // from memory, so that curl can begin anew on another connection
    case HttpMethod::kPost:
      curl_easy_setopt(curl, CURLOPT_POST, 1L);
      if (transfer.method == HttpMethod::kPut) curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, "PUT");
      curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                       static_cast<curl_off_t>(transfer.body.size()));
      curl_easy_setopt(curl, CURLOPT_POSTFIELDS,
                       transfer.body.empty() ? "" : as_text(transfer.body).data());
      break;
  }
}

}  // namespace

ErrorCode code_of_http_status(long status) {
  switch (status) {
    case 404:
    case 410:
      return ErrorCode::kNotFound;
    case 401:
    case 403:
    case 407:
      return ErrorCode::kDenied;
    case 408:
    case 425:
    case 429:
      return ErrorCode::kUnavailable;
    default:
      return status >= 500 && status <= 599 ? ErrorCode::kUnavailable : ErrorCode::kUnsupported;
  }
}

Result<HttpUrl> parse_repository_url(const std::string& text) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), &curl_url_cleanup);
  HttpUrl parts;
  parts.is_https = text.starts_with("https://");
  if (!parts.is_https && !text.starts_with("http://")) {
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is not an http or https URL", text));
  }
  if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) {
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is not a URL", text));
  }
  for (const CURLUPart part :
       {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_QUERY, CURLUPART_FRAGMENT}) {
    if (part_of(url.get(), part)) {
      return fail(ErrorCode::kInvalid,
                  "a repository's URL has no user, password, query or fragment");
    }
  }
  parts.host = part_of(url.get(), CURLUPART_HOST).value_or("");
  parts.port = part_of(url.get(), CURLUPART_PORT).value_or("");
  parts.path = part_of(url.get(), CURLUPART_PATH).value_or("");
  return parts;
}

void TransferPool::HandleDeleter::operator()(void* handle) const { curl_easy_cleanup(handle); }

TransferPool::~TransferPool() = default;

Result<std::unique_ptr<TransferPool>> TransferPool::create(TransferOptions options) {
  FR_CHECK(start_curl());
  if (options.client_certificate_file.empty() != options.client_key_file.empty()) {
    return fail(ErrorCode::kInvalid, "a client certificate and its key go together");
  }
  if (options.rate_bytes_per_s_min == 0 || options.connect_timeout <= Nanos{0} ||
      options.stall_timeout <= Nanos{0}) {
    return fail(ErrorCode::kInvalid,
                "time-outs and the lowest rate of a repository are above zero");
  }
  return std::unique_ptr<TransferPool>(new TransferPool(std::move(options)));
}

TransferPool::Handle TransferPool::take() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) return Handle(curl_easy_init());
  // The most recently used: its connection is the likeliest to live.
  Handle handle = std::move(idle_.back());
  idle_.pop_back();
  return handle;
}

void TransferPool::give_back(Handle handle) {
  curl_easy_reset(handle.get());  // keeps its connection
  const std::lock_guard lock(mutex_);
  if (idle_.size() < options_.idle_connections_max) idle_.push_back(std::move(handle));
}

void TransferPool::set_options(void* curl) const {
  const bool is_followed = !options_.redirect_schemes.empty();
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  if (is_followed)
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, options_.redirect_schemes.c_str());
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, is_followed ? 1L : 0L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, kRedirectsMax);
  curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXCONNECTS, 1L);
  // "" also switches the environment's off.
  curl_easy_setopt(curl, CURLOPT_PROXY, options_.proxy.c_str());
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "forerun");
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(options_.connect_timeout));
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME,
                   std::max(1L, milliseconds(options_.stall_timeout) / 1000));
  curl_easy_setopt(curl, CURLOPT_FILETIME, 1L);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &on_body);
  curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
  curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
  curl_easy_setopt(curl, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!options_.ca_file.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, options_.ca_file.c_str());
  if (!options_.client_certificate_file.empty()) {
    curl_easy_setopt(curl, CURLOPT_SSLCERT, options_.client_certificate_file.c_str());
    curl_easy_setopt(curl, CURLOPT_SSLKEY, options_.client_key_file.c_str());
  }
}

Result<HttpReply> TransferPool::perform(const Transfer& transfer) {
  Handle handle = take();
  const HeaderList headers = list_of(transfer.headers);
  if (!handle || (!headers && !transfer.headers.empty())) {
    return fail(ErrorCode::kInternal,
                fmt::format("cannot {}: no memory for a connection", transfer.attempted));
  }
  CURL* const curl = handle.get();
  Answer answer{.handle = curl, .size_max = transfer.size_max};
  const Nanos allowed =
      kTimeoutBase + std::chrono::seconds((transfer.size_max + transfer.body.size()) /
                                          options_.rate_bytes_per_s_min);
  char detail[CURL_ERROR_SIZE] = "";
  set_options(curl);
  set_method(curl, transfer);
  curl_easy_setopt(curl, CURLOPT_URL, transfer.url.c_str());
  if (headers) curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, milliseconds(allowed));
  const CURLcode result = curl_easy_perform(curl);
  const long status = answer.status();
  long redirects = 0;
  curl_easy_getinfo(curl, CURLINFO_REDIRECT_COUNT, &redirects);
  curl_off_t modified = -1;
  curl_easy_getinfo(curl, CURLINFO_FILETIME_T, &modified);
  give_back(std::move(handle));

  if (answer.is_too_large) {
    return fail(ErrorCode::kTooLarge, fmt::format("cannot {}: it has more than {} bytes",
                                                  transfer.attempted, transfer.size_max));
  }
  if (result != CURLE_OK && !answer.is_error_page_cut) {
    return fail(code_of_curl(result, redirects > 0),
                fmt::format("cannot {}: {}", transfer.attempted,
                            detail[0] != '\0' ? detail : curl_easy_strerror(result)));
  }
  return HttpReply{status, std::move(answer.body), modified < 0 ? 0 : int64_t{modified}};
}

}  // namespace forerun::net
