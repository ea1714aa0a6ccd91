#include "net/s3_store.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <random>
#include <thread>

#include "repository/image_index.h"

namespace forerun::net {
namespace {

using repository::StoreTime;

constexpr std::string_view kImagesFolder = "images/";
constexpr std::string_view kTagSuffix = ".json";
constexpr size_t kReplyBytesMax = 64 * kKiB;  // of an answer that is no object
// A listing that goes on beyond this is none: 1000 times as many objects.
constexpr size_t kListPagesMax = 100'000;
constexpr int kListUpdatesMax = 16;
constexpr int kPutRacesMax = 8;
// Above it an object is looked for before it is sent, so as not to send it twice.
constexpr size_t kPutBlindlyMax = kMiB;

bool is_image_tag(std::string_view path) {
  return path.starts_with(kImagesFolder) && path.ends_with(kTagSuffix);
}

std::string_view word(HttpMethod method) {
  switch (method) {
    case HttpMethod::kGet:
      return "GET";
    case HttpMethod::kHead:
      return "HEAD";
    case HttpMethod::kPut:
      return "PUT";
    case HttpMethod::kDelete:
      return "DELETE";
  }
  return "";
}

// What error codes mean that an operator can do something about.
struct Meaning {
  std::string_view code;
  ErrorCode error;
  std::string_view text;
};
constexpr Meaning kMeanings[] = {
    {"SignatureDoesNotMatch", ErrorCode::kDenied, "the secret access key is wrong"},
    {"InvalidAccessKeyId", ErrorCode::kDenied, "it does not know the access key"},
    {"AccessDenied", ErrorCode::kDenied, "the access key has no right to do that"},
    {"ExpiredToken", ErrorCode::kDenied, "the session token has expired"},
    {"InvalidToken", ErrorCode::kDenied, "the session token is wrong"},
    {"RequestTimeTooSkewed", ErrorCode::kDenied, "this host's clock differs from the service's"},
    {"AuthorizationHeaderMalformed", ErrorCode::kDenied, "the region is wrong"},
    {"NoSuchBucket", ErrorCode::kDenied, "there is no such bucket"},
    {"PermanentRedirect", ErrorCode::kDenied, "the bucket is in another region or endpoint"},
    {"TemporaryRedirect", ErrorCode::kDenied, "the bucket is in another region or endpoint"},
    {"XAmzContentSHA256Mismatch", ErrorCode::kUnavailable, "the data was damaged on its way"},
    {"BadDigest", ErrorCode::kUnavailable, "the data was damaged on its way"},
    {"RequestTimeout", ErrorCode::kUnavailable, "the data did not arrive in time"},
    {"InternalError", ErrorCode::kUnavailable, "the service failed"},
    {"OperationAborted", ErrorCode::kUnavailable, "another change is under way"},
    {"QuotaExceeded", ErrorCode::kNoSpace, "the quota is used up"},
    {"EntityTooLarge", ErrorCode::kTooLarge, "it takes no object of this size"},
};

// Somebody waits for what is only read: a second time-out would be too long.
bool is_tried_again(HttpMethod method, ErrorCode code) {
  const bool is_write = method == HttpMethod::kPut || method == HttpMethod::kDelete;
  return code == ErrorCode::kUnavailable || (is_write && code == ErrorCode::kTimedOut);
}

Status check_path(std::string_view path) {
  if (repository::is_valid_object_path(path)) return {};
  return fail(ErrorCode::kInvalid, fmt::format("'{}' is not the path of an object", path));
}

bool is_bucket_name(std::string_view name) {
  const auto is_plain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return name.size() >= 3 && name.size() <= 63 && is_plain(name.front()) && is_plain(name.back()) &&
         name.find("..") == std::string_view::npos &&
         std::ranges::all_of(name, [&](char c) { return is_plain(c) || c == '-' || c == '.'; });
}

bool is_plain_word(std::string_view text, size_t size_max) {
  return !text.empty() && text.size() <= size_max &&
         std::ranges::all_of(text, [](char c) { return c > ' ' && c < 0x7f; });
}

// What they are is not said: they are secrets.
Status check_keys(const S3Credentials& keys) {
  if (!is_plain_word(keys.access_key_id, 256) || !is_plain_word(keys.secret_access_key, 1024))
    return fail(ErrorCode::kInvalid, "it needs an access key and its secret, in printable letters");
  if (!keys.session_token.empty() && !is_plain_word(keys.session_token, 16 * kKiB))
    return fail(ErrorCode::kInvalid, "a session token has printable letters only");
  return {};
}

Status check_options(const S3Options& options) {
  const auto invalid = [](std::string what) { return fail(ErrorCode::kInvalid, std::move(what)); };
  if (!is_bucket_name(options.bucket))
    return invalid(fmt::format("'{}' is not the name of a bucket", options.bucket));
  if (!options.prefix.empty() && !repository::is_valid_object_path(options.prefix))
    return invalid(fmt::format("'{}' is not the prefix of a repository", options.prefix));
  if (!is_plain_word(options.region, 64) || options.region.find('/') != std::string::npos)
    return invalid(fmt::format("'{}' is not a region", options.region));
  if (const Status keys = check_keys(options.credentials); !keys)
    return std::unexpected(keys.error().within("s3://" + options.bucket));
  if (options.attempts_max < 1) return invalid("S3 needs at least one attempt");
  if (!options.unix_seconds) return invalid("S3 needs a clock for its signatures");
  return {};
}

}  // namespace

Result<S3Location> parse_s3_url(const std::string& url) {
  constexpr std::string_view kScheme = "s3://";
  if (!url.starts_with(kScheme))
    return fail(ErrorCode::kInvalid, fmt::format("'{}' must begin with s3://", url));
  std::string rest = url.substr(kScheme.size());
  while (rest.ends_with('/')) rest.pop_back();
  const size_t slash = rest.find('/');
  S3Location location{rest.substr(0, slash), ""};
  if (slash != std::string::npos) location.prefix = rest.substr(slash + 1);
  if (!is_bucket_name(location.bucket) ||
      (!location.prefix.empty() && !repository::is_valid_object_path(location.prefix)))
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is not s3://bucket or s3://bucket/prefix, "
                                                 "with up to three folders in the prefix",
                                                 url));
  return location;
}

Result<std::unique_ptr<S3Store>> S3Store::create(S3Options options) {
  FR_CHECK(check_options(options));
  if (options.endpoint.empty())
    options.endpoint = fmt::format("https://s3.{}.amazonaws.com", options.region);
  FR_TRY(const HttpUrl endpoint, parse_repository_url(options.endpoint));
  if (endpoint.path != "/")
    return fail(ErrorCode::kInvalid,
                fmt::format("'{}': the endpoint of S3 has no path", options.endpoint));
  if (!options.is_path_style && endpoint.host.starts_with('['))
    return fail(ErrorCode::kInvalid, "a bucket as host name needs an endpoint with a name");
  TransferOptions transfers;
  transfers.ca_file = options.ca_file;
  transfers.proxy = options.proxy;
  transfers.connect_timeout = options.connect_timeout;
  transfers.stall_timeout = options.stall_timeout;
  FR_TRY(auto pool, TransferPool::create(std::move(transfers)));
  return std::unique_ptr<S3Store>(new S3Store(std::move(options), endpoint, std::move(pool)));
}

S3Store::S3Store(S3Options options, const HttpUrl& endpoint, std::unique_ptr<TransferPool> pool)
    : options_(std::move(options)),
      name_(fmt::format("s3://{}{}{}", options_.bucket, options_.prefix.empty() ? "" : "/",
                        options_.prefix)),
      host_(endpoint.host),
      pool_(std::move(pool)),
      credentials_(std::make_shared<const S3Credentials>(options_.credentials)) {
  if (!options_.is_path_style) host_ = options_.bucket + "." + host_;
  // As clients and servers write it: without the scheme's own port.
  if (!endpoint.port.empty() && endpoint.port != (endpoint.is_https ? "443" : "80"))
    host_ += ":" + endpoint.port;
  base_url_ = (endpoint.is_https ? "https://" : "http://") + host_;
  if (options_.is_path_style) base_path_ = "/" + options_.bucket;
}

std::string S3Store::key_of(const std::string& path) const {
  return options_.prefix.empty() ? path : options_.prefix + "/" + path;
}

Result<HttpReply> S3Store::perform_once(const Request& request) {
  std::shared_ptr<const S3Credentials> keys;
  {
    const std::lock_guard lock(mutex_);
    keys = credentials_;
  }
  auto reply = perform_with(request, *keys);
  const bool is_refused = reply && (reply->status == 401 || reply->status == 403 ||
                                    s3_error_code(as_text(reply->body)) == "ExpiredToken");
  if (!is_refused || !options_.reload_credentials) return reply;
  auto reloaded = options_.reload_credentials();
  if (!reloaded || *reloaded == *keys || !check_keys(*reloaded)) return reply;
  keys = std::make_shared<const S3Credentials>(std::move(*reloaded));
  {
    const std::lock_guard lock(mutex_);
    credentials_ = keys;
  }
  return perform_with(request, *keys);
}

Result<HttpReply> S3Store::perform_with(const Request& request, const S3Credentials& credentials) {
  UnsignedRequest to_sign;
  to_sign.method = word(request.method);
  to_sign.path = request.path.empty() ? base_path_ + (base_path_.empty() ? "/" : "")
                                      : base_path_ + "/" + key_of(request.path);
  to_sign.query = request.query;
  to_sign.headers = request.headers;
  to_sign.headers["host"] = host_;
  Transfer transfer;
  transfer.attempted = fmt::format("{} {}{}{}", request.attempted, name_,
                                   request.path.empty() ? "" : "/", request.path);
  transfer.method = request.method;
  transfer.url = base_url_ + to_sign.path;
  if (!request.query.empty()) transfer.url += "?" + encoded_query(request.query);
  transfer.body = request.body;
  transfer.size_max = request.size_max;
  transfer.headers =
      signed_headers(std::move(to_sign), sha256(request.body), options_.unix_seconds(),
                     {.region = options_.region}, credentials);
  if (request.method == HttpMethod::kPut)
    transfer.headers.emplace_back("Content-Type: application/octet-stream");
  return pool_->perform(transfer);
}

Result<HttpReply> S3Store::perform(const Request& request) {
  Nanos wait = options_.retry_wait;
  for (int attempt = 1;; ++attempt) {
    auto reply = perform_once(request);
    const ErrorCode code = !reply                ? reply.error().code
                           : reply->status < 300 ? ErrorCode::kInternal
                                                 : refusal(request, *reply).error().code;
    if (attempt == options_.attempts_max || !is_tried_again(request.method, code)) return reply;
    options_.sleep ? options_.sleep(wait) : std::this_thread::sleep_for(wait);
    wait *= 2;
  }
}

std::unexpected<Error> S3Store::refusal(const Request& request, const HttpReply& reply) const {
  const std::string attempted = fmt::format("cannot {} {}{}{}", request.attempted, name_,
                                            request.path.empty() ? "" : "/", request.path);
  const std::string code = s3_error_code(as_text(reply.body));
  for (const Meaning& meaning : kMeanings) {
    if (meaning.code == code)
      return fail(meaning.error, fmt::format("{}: {} ({})", attempted, meaning.text, code));
  }
  const std::string answer = fmt::format("{}{}{}", reply.status, code.empty() ? "" : " ", code);
  if (reply.status >= 300 && reply.status < 400)
    return fail(ErrorCode::kDenied, fmt::format("{}: it redirects elsewhere ({}); endpoint and "
                                                "region must name where the bucket is",
                                                attempted, answer));
  return fail(code_of_http_status(reply.status),
              fmt::format("{}: the service answers {}", attempted, answer));
}

Result<Buffer> S3Store::fetch(const std::string& path, size_t size_max) {
  FR_CHECK(check_path(path));
  const Request request{.attempted = "fetch", .path = path, .size_max = size_max};
  FR_TRY(HttpReply reply, perform_once(request));
  if (reply.status != 200) return refusal(request, reply);
  return std::move(reply.body);
}

Result<StoreTime> S3Store::modified(const std::string& path) {
  const Request request{.attempted = "look for", .path = path, .method = HttpMethod::kHead};
  FR_TRY(const HttpReply reply, perform(request));
  if (reply.status != 200) return refusal(request, reply);
  return StoreTime(std::chrono::seconds(reply.modified_unix_s));
}

bool S3Store::contains(const std::string& path) {
  return check_path(path) && modified(path).has_value();
}

Status S3Store::put(const std::string& path, ByteView data) {
  FR_CHECK(check_path(path));
  FR_CHECK(put_object(path, data));
  return is_image_tag(path) ? update_list() : Status{};
}

Status S3Store::put_object(const std::string& path, ByteView data) {
  const Request overwrite{.attempted = "put",
                          .path = path,
                          .method = HttpMethod::kPut,
                          .body = data,
                          .size_max = kReplyBytesMax};
  Request create = overwrite;
  create.headers["if-none-match"] = "*";
  bool is_there = data.size() > kPutBlindlyMax && contains(path);
  for (int i = 0; i < kPutRacesMax; ++i) {
    if (!is_there) {
      FR_TRY(const HttpReply reply, perform(create));
      if (reply.status == 200) return {};
      // There is one, or one is coming, or the service knows no conditions.
      if (reply.status != 412 && reply.status != 409 && reply.status != 501)
        return refusal(create, reply);
    }
    FR_TRY(const HttpReply reply, perform(overwrite));
    if (reply.status != 200) return refusal(overwrite, reply);
    const auto found = modified(path);
    if (found) return {};
    if (found.error().code != ErrorCode::kNotFound) return std::unexpected(found.error());
    is_there = false;
  }
  return fail(ErrorCode::kUnavailable,
              fmt::format("cannot put {}/{}: others remove it again and again", name_, path));
}

// Each of several writers lists, puts, and lists again until nothing changed meanwhile: whoever
// puts last has listed after every tag that was there.
Status S3Store::update_list() {
  FR_TRY(std::vector<std::string> names, list_images());
  for (int i = 0; i < kListUpdatesMax; ++i) {
    FR_CHECK(put_object(std::string(repository::kImageListPath),
                        as_bytes(repository::serialize_image_list(names))));
    FR_TRY(std::vector<std::string> again, list_images());
    if (again == names) return {};
    names = std::move(again);
  }
  return fail(ErrorCode::kUnavailable,
              fmt::format("cannot bring images.json of {} up to date: its tags change all the time",
                          name_));
}

Result<std::vector<std::string>> S3Store::list_images() {
  std::vector<std::string> names;
  FR_CHECK(list("images", [&](const repository::ObjectInfo& object) -> Status {
    if (!is_image_tag(object.path)) return {};
    const std::string name = object.path.substr(
        kImagesFolder.size(), object.path.size() - kImagesFolder.size() - kTagSuffix.size());
    if (is_valid_name(name)) names.push_back(name);
    return {};
  }));
  std::ranges::sort(names);
  return names;
}

Status S3Store::list(const std::string& folder, const Visit& visit) {
  FR_CHECK(check_path(folder));
  const std::string base = options_.prefix.empty() ? "" : options_.prefix + "/";
  Request request{.attempted = "list", .size_max = kS3ListPageBytesMax};
  request.query = {{"list-type", "2"},
                   {"prefix", base + folder + "/"},
                   {"max-keys", std::to_string(kS3ListPageObjectsMax)},
                   {"encoding-type", "url"}};
  std::string last;  // S3 lists in order: so a list that goes in circles is noticed
  for (size_t page_index = 0; page_index < kListPagesMax; ++page_index) {
    FR_TRY(const HttpReply reply, perform(request));
    if (reply.status != 200) return refusal(request, reply);
    auto page = parse_s3_list_page(as_text(reply.body));
    if (!page)
      return std::unexpected(std::move(page.error()).within(fmt::format("cannot list {}", name_)));
    for (const S3ListedObject& object : page->objects) {
      if (object.key <= last)
        return fail(ErrorCode::kCorrupt,
                    fmt::format("cannot list {}: the listing is not in order", name_));
      last = object.key;
      if (!object.key.starts_with(base + folder + "/")) continue;  // not asked for
      const std::string path = object.key.substr(base.size());
      if (!check_path(path)) continue;  // no object of ours
      FR_CHECK(visit({path, object.size_bytes, object.modified}));
    }
    if (page->next.empty()) return {};
    request.query["continuation-token"] = page->next;
  }
  return fail(ErrorCode::kTooLarge, fmt::format("cannot list {}: the listing has no end", name_));
}

Status S3Store::renew(const std::string& path) {
  FR_CHECK(check_path(path));
  Request request{
      .attempted = "renew", .path = path, .method = HttpMethod::kPut, .size_max = kReplyBytesMax};
  request.headers["x-amz-copy-source"] = "/" + options_.bucket + "/" + key_of(path);
  request.headers["x-amz-metadata-directive"] = "REPLACE";
  FR_TRY(const HttpReply reply, perform(request));
  // A copy that fails under way is an error in an answer that began well.
  if (reply.status != 200 || !s3_error_code(as_text(reply.body)).empty())
    return refusal(request, reply);
  FR_CHECK(modified(path));
  return {};
}

Result<StoreTime> S3Store::now() {
  std::random_device random;
  const std::string path = fmt::format("tmp/now-{:08x}{:08x}", random(), random());
  FR_CHECK(put_object(path, as_bytes("now")));
  const auto time = modified(path);
  const Request removal{.attempted = "remove", .path = path, .method = HttpMethod::kDelete};
  FR_CHECK(perform(removal));
  return time;
}

// An object that is young is asked to be removed if it is old.
Status S3Store::require_conditional_removal() {
  if (removes_conditionally_) return {};
  std::random_device random;
  const std::string path = fmt::format("tmp/try-{:08x}{:08x}", random(), random());
  FR_CHECK(put_object(path, as_bytes("try")));
  FR_TRY(const bool was_removed, remove_object(path, std::chrono::hours(24 * 365)));
  if (was_removed)
    return fail(ErrorCode::kUnsupported,
                fmt::format("{} cannot remove by age: its service overlooks "
                            "x-amz-delete-if-unmodified-since, which radosgw obeys",
                            name_));
  FR_CHECK(remove_object(path, StoreTime::max()));
  removes_conditionally_ = true;
  return {};
}

Result<bool> S3Store::remove(const std::string& path, StoreTime newest) {
  FR_CHECK(check_path(path));
  if (newest != StoreTime::max()) FR_CHECK(require_conditional_removal());
  const auto found = modified(path);
  if (!found && found.error().code == ErrorCode::kNotFound) return false;
  if (!found) return std::unexpected(found.error());
  FR_TRY(const bool is_removed, remove_object(path, newest));
  if (is_removed && is_image_tag(path)) FR_CHECK(update_list());
  return is_removed;
}

// Returns false if the object is younger, or if it is there afterwards: radosgw also calls a
// removal successful that lost against a write.
Result<bool> S3Store::remove_object(const std::string& path, StoreTime newest) {
  Request request{.attempted = "remove",
                  .path = path,
                  .method = HttpMethod::kDelete,
                  .size_max = kReplyBytesMax};
  if (newest != StoreTime::max()) {
    // The service compares whole seconds, both cut: "before the second of newest" is sure.
    const auto second = std::chrono::floor<std::chrono::seconds>(newest).count() - 1;
    if (second < 0) return false;
    request.headers["x-amz-delete-if-unmodified-since"] =
        fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(second)));
  }
  FR_TRY(const HttpReply reply, perform(request));
  if (reply.status == 412) return false;
  if (reply.status != 204 && reply.status != 200 && reply.status != 404)
    return refusal(request, reply);
  const auto found = modified(path);
  if (found) return false;
  if (found.error().code != ErrorCode::kNotFound) return std::unexpected(found.error());
  return true;
}

}  // namespace forerun::net
