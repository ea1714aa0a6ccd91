#include "repository/source.h"

#include <fmt/format.h>

namespace forerun::repository {
namespace {

std::unexpected<Error> cannot(const Store& store, std::string_view what) {
  return fail(ErrorCode::kUnsupported, fmt::format("{} cannot {}", store.name(), what));
}

}  // namespace

Result<StoreTime> Store::now() { return cannot(*this, "tell the age of its objects"); }
Status Store::list(const std::string&, const Visit&) { return cannot(*this, "list its objects"); }
Status Store::renew(const std::string&) { return cannot(*this, "renew its objects"); }
Result<bool> Store::remove(const std::string&, StoreTime) {
  return cannot(*this, "remove objects");
}

std::string chunk_path(const ChunkId& id) {
  const std::string hex = id.hex();
  return fmt::format("chunks/{}/{}", std::string_view(hex).substr(0, 2), hex);
}

std::string delta_path(const ChunkId& id) {
  const std::string hex = id.hex();
  return fmt::format("deltas/{}/{}", std::string_view(hex).substr(0, 2), hex);
}

std::string index_path(const Digest& digest) { return "indexes/" + digest.hex(); }

std::string image_path(std::string_view image_name) {
  return fmt::format("images/{}.json", image_name);
}

bool is_valid_object_path(std::string_view path) {
  if (path.empty() || path.size() > kObjectPathMax) return false;
  size_t depth = 1;
  bool at_start = true;  // of a component
  for (const char c : path) {
    if (c == '/') {
      if (at_start || ++depth > kObjectPathDepthMax) return false;
      at_start = true;
      continue;
    }
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (!plain && c != '_' && (at_start || (c != '.' && c != '-'))) return false;
    at_start = false;
  }
  return !at_start;
}

}  // namespace forerun::repository
