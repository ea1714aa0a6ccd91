#include "net/http_source.h"

#include <fmt/format.h>

#include "repository/image_index.h"

namespace forerun::net {

Result<std::unique_ptr<HttpSource>> HttpSource::create(HttpOptions options) {
  std::string base_url = std::move(options.base_url);
  while (base_url.ends_with('/')) base_url.pop_back();
  FR_TRY(const HttpUrl url, parse_repository_url(base_url));
  TransferOptions transfers;
  transfers.ca_file = std::move(options.ca_file);
  transfers.client_certificate_file = std::move(options.client_certificate_file);
  transfers.client_key_file = std::move(options.client_key_file);
  transfers.proxy = std::move(options.proxy);
  transfers.connect_timeout = options.connect_timeout;
  transfers.stall_timeout = options.stall_timeout;
  transfers.rate_bytes_per_s_min = options.rate_bytes_per_s_min;
  transfers.idle_connections_max = options.idle_connections_max;
  transfers.redirect_schemes = url.is_https ? "https" : "http,https";
  FR_TRY(auto pool, TransferPool::create(std::move(transfers)));
  return std::unique_ptr<HttpSource>(new HttpSource(std::move(base_url), std::move(pool)));
}

Result<Buffer> HttpSource::fetch(const std::string& path, size_t size_max) {
  if (!repository::is_valid_object_path(path)) {
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is not the path of an object", path));
  }
  const std::string url = fmt::format("{}/{}", base_url_, path);
  const Transfer transfer{.attempted = "fetch " + url, .url = url, .size_max = size_max};
  FR_TRY(HttpReply reply, pool_->perform(transfer));
  if (reply.status != 200) {
    return fail(code_of_http_status(reply.status),
                fmt::format("cannot fetch {}: the server answers {}", url, reply.status));
  }
  return std::move(reply.body);
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
