#include "net/http_source.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <mutex>

#include "repository/image_index.h"

namespace forerun::net {
namespace {

constexpr long kRedirectsMax = 3;
constexpr size_t kDiscardMax = 64 * kKiB;  // of an error page: reading it out keeps the connection
constexpr Nanos kFetchTimeoutBase = 30s;

struct HandleDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using Handle = std::unique_ptr<CURL, HandleDeleter>;

long milliseconds(Nanos span) {
  return static_cast<long>(std::chrono::duration_cast<std::chrono::milliseconds>(span).count());
}

// One fetch under way.
struct Transfer {
  CURL* handle = nullptr;
  size_t size_max = 0;
  Buffer body;
  size_t discarded = 0;
  bool too_large = false;

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
  Transfer& transfer = *static_cast<Transfer*>(user);
  if (transfer.status() != 200) {
    transfer.discarded += size;
    return transfer.discarded > kDiscardMax ? 0 : size;
  }
  if (transfer.body.empty()) {
    transfer.too_large = transfer.announced() > transfer.size_max;
    if (!transfer.too_large) transfer.body.reserve(transfer.announced());
  }
  transfer.too_large = transfer.too_large || size > transfer.size_max - transfer.body.size();
  if (transfer.too_large) return 0;  // ends the transfer
  const ByteView bytes = std::as_bytes(std::span(data, size));
  transfer.body.insert(transfer.body.end(), bytes.begin(), bytes.end());
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

// Returns whether the URL has `part`.
bool has_part(CURLU* url, CURLUPart part) {
  char* text = nullptr;
  const bool found = curl_url_get(url, part, &text, 0) == CURLUE_OK;
  curl_free(text);
  return found;
}

Status check_url(const std::string& text, bool& is_https) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> url(curl_url(), &curl_url_cleanup);
  is_https = text.starts_with("https://");
  if (!is_https && !text.starts_with("http://")) {
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is not an http or https URL", text));
  }
  if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) {
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is not a URL", text));
  }
  // A password would end up in logs, and a query after the object's path.
  for (const CURLUPart part :
       {CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_QUERY, CURLUPART_FRAGMENT}) {
    if (has_part(url.get(), part)) {
      return fail(ErrorCode::kInvalid,
                  "a repository's URL has no user, password, query or fragment");
    }
  }
  return {};
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

// Easy handles, each with its own connection. A thread takes one, uses it, gives it back.
class HttpSource::Pool {
 public:
  Pool(HttpOptions options, bool is_https) : options_(std::move(options)), is_https_(is_https) {}

  const HttpOptions& options() const { return options_; }

  Handle take() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        Handle handle = std::move(
            idle_.back());  // the most recently used: its connection is the likeliest to live
        idle_.pop_back();
        return handle;
      }
    }
    return make();
  }

  void give_back(Handle handle) {
    const std::lock_guard lock(mutex_);
    if (idle_.size() < options_.idle_connections_max) idle_.push_back(std::move(handle));
  }

 private:
  Handle make() const {
    Handle handle(curl_easy_init());
    if (!handle) return handle;
    CURL* const curl = handle.get();
    const char* const redirects = is_https_ ? "https" : "http,https";
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, redirects);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, kRedirectsMax);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_easy_setopt(curl, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXCONNECTS, 1L);
    curl_easy_setopt(curl, CURLOPT_PROXY,
                     options_.proxy.c_str());  // "" also switches the environment's off
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "forerun");
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(options_.connect_timeout));
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME,
                     std::max(1L, milliseconds(options_.stall_timeout) / 1000));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &on_body);
    set_tls(curl);
    return handle;
  }

  void set_tls(CURL* curl) const {
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    if (!options_.ca_file.empty()) curl_easy_setopt(curl, CURLOPT_CAINFO, options_.ca_file.c_str());
    if (!options_.client_certificate_file.empty()) {
      curl_easy_setopt(curl, CURLOPT_SSLCERT, options_.client_certificate_file.c_str());
      curl_easy_setopt(curl, CURLOPT_SSLKEY, options_.client_key_file.c_str());
    }
  }

  const HttpOptions options_;
  const bool is_https_;
  std::mutex mutex_;
  std::vector<Handle> idle_;  // guarded by mutex_
};

HttpSource::HttpSource(std::unique_ptr<Pool> pool) : pool_(std::move(pool)) {}
HttpSource::~HttpSource() = default;

Result<std::unique_ptr<HttpSource>> HttpSource::create(HttpOptions options) {
  FR_CHECK(start_curl());
  while (options.base_url.ends_with('/')) options.base_url.pop_back();
  bool is_https = false;
  FR_CHECK(check_url(options.base_url, is_https));
  if (options.client_certificate_file.empty() != options.client_key_file.empty()) {
    return fail(ErrorCode::kInvalid, "a client certificate and its key go together");
  }
  if (options.rate_bytes_per_s_min == 0 || options.connect_timeout <= Nanos{0} ||
      options.stall_timeout <= Nanos{0}) {
    return fail(ErrorCode::kInvalid,
                "time-outs and the lowest rate of a repository are above zero");
  }
  auto pool = std::make_unique<Pool>(std::move(options), is_https);
  return std::unique_ptr<HttpSource>(new HttpSource(std::move(pool)));
}

std::string_view HttpSource::name() const { return pool_->options().base_url; }

Result<Buffer> HttpSource::fetch(const std::string& path, size_t size_max) {
  if (!repository::is_valid_object_path(path)) {
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is not the path of an object", path));
  }
  const std::string url = fmt::format("{}/{}", name(), path);
  Handle handle = pool_->take();
  if (!handle)
    return fail(ErrorCode::kInternal,
                fmt::format("cannot fetch {}: no memory for a connection", url));

  Transfer transfer{.handle = handle.get(), .size_max = size_max};
  const Nanos allowed =
      kFetchTimeoutBase + std::chrono::seconds(size_max / pool_->options().rate_bytes_per_s_min);
  char detail[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(handle.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(handle.get(), CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(handle.get(), CURLOPT_ERRORBUFFER, detail);
  curl_easy_setopt(handle.get(), CURLOPT_TIMEOUT_MS, milliseconds(allowed));
  const CURLcode result = curl_easy_perform(handle.get());
  const long status = transfer.status();
  long redirects = 0;
  curl_easy_getinfo(handle.get(), CURLINFO_REDIRECT_COUNT, &redirects);
  curl_easy_setopt(handle.get(), CURLOPT_ERRORBUFFER, nullptr);
  curl_easy_setopt(handle.get(), CURLOPT_WRITEDATA, nullptr);
  pool_->give_back(std::move(handle));

  if (transfer.too_large) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("cannot fetch {}: it has more than {} bytes", url, size_max));
  }
  const bool cut_error_page = result == CURLE_WRITE_ERROR && transfer.discarded > 0;
  if (result != CURLE_OK && !cut_error_page) {
    return fail(code_of_curl(result, redirects > 0),
                fmt::format("cannot fetch {}: {}", url,
                            detail[0] != '\0' ? detail : curl_easy_strerror(result)));
  }
  if (status != 200) {
    return fail(code_of_http_status(status),
                fmt::format("cannot fetch {}: the server answers {}", url, status));
  }
  return std::move(transfer.body);
}

Result<std::vector<std::string>> HttpSource::list_images() {
  auto data = fetch(std::string(repository::kImageListPath), repository::kImageListBytesMax);
  if (!data && data.error().code == ErrorCode::kNotFound) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("{} has no list of its images (images.json)", name()));
  }
  if (!data) return std::unexpected(std::move(data.error()));
  auto names = repository::parse_image_list(as_text(*data));
  if (!names) return std::unexpected(names.error().within(name()));
  return names;
}

}  // namespace forerun::net
