#include "repository/memory_store.h"

#include <fmt/format.h>

namespace forerun::repository {

Result<Buffer> MemoryStore::fetch(const std::string& path, size_t size_max) {
  if (!is_valid_object_path(path))
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is no object's path", path));
  const std::lock_guard lock(mutex_);
  const auto found = objects_.find(path);
  if (found == objects_.end())
    return fail(ErrorCode::kNotFound, fmt::format("memory has no {}", path));
  if (found->second.size() > size_max) {
    return fail(ErrorCode::kTooLarge, fmt::format("{} has more than {} bytes", path, size_max));
  }
  return found->second;
}

Result<std::vector<std::string>> MemoryStore::list_images() {
  constexpr std::string_view kFolder = "images/";
  constexpr std::string_view kSuffix = ".json";
  const std::lock_guard lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [path, data] : objects_) {
    if (!path.starts_with(kFolder) || !path.ends_with(kSuffix)) continue;
    names.push_back(path.substr(kFolder.size(), path.size() - kFolder.size() - kSuffix.size()));
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool MemoryStore::contains(const std::string& path) {
  const std::lock_guard lock(mutex_);
  return objects_.contains(path);
}

Status MemoryStore::put(const std::string& path, ByteView data) {
  if (!is_valid_object_path(path))
    return fail(ErrorCode::kInvalid, fmt::format("'{}' is no object's path", path));
  const std::lock_guard lock(mutex_);
  if (puts_left_ == 0)
    return fail(ErrorCode::kNoSpace, fmt::format("cannot store {}: memory is full", path));
  --puts_left_;
  objects_[path] = Buffer(data.begin(), data.end());
  renewed_[path] = now_;
  history_.push_back(path);
  return {};
}

Status MemoryStore::flush() {
  const std::lock_guard lock(mutex_);
  durable_ = objects_;
  history_.emplace_back("flush");
  return {};
}

Result<StoreTime> MemoryStore::now() {
  const std::lock_guard lock(mutex_);
  return now_;
}

Status MemoryStore::list(const std::string& folder, const Visit& visit) {
  std::vector<ObjectInfo> found;
  {
    const std::lock_guard lock(mutex_);
    const std::string prefix = folder + "/";
    for (auto it = objects_.lower_bound(prefix);
         it != objects_.end() && it->first.starts_with(prefix); ++it) {
      found.push_back({it->first, it->second.size(), renewed_[it->first]});
    }
  }
  for (const ObjectInfo& object : found) FR_CHECK(visit(object));
  return {};
}

Status MemoryStore::renew(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (!objects_.contains(path))
    return fail(ErrorCode::kNotFound, fmt::format("memory has no {}", path));
  renewed_[path] = now_;
  return {};
}

Result<bool> MemoryStore::remove(const std::string& path, StoreTime newest) {
  const std::lock_guard lock(mutex_);
  if (!objects_.contains(path) || renewed_[path] > newest) return false;
  objects_.erase(path);
  return true;
}

void MemoryStore::advance(Nanos span) {
  const std::lock_guard lock(mutex_);
  now_ += span;
}

void MemoryStore::crash() {
  const std::lock_guard lock(mutex_);
  objects_ = durable_;
  puts_left_ = SIZE_MAX;
}

void MemoryStore::fail_puts_after(size_t count) {
  const std::lock_guard lock(mutex_);
  puts_left_ = count;
}

void MemoryStore::spoil(const std::string& path, Buffer bytes) {
  const std::lock_guard lock(mutex_);
  objects_[path] = std::move(bytes);
}

std::vector<std::string> MemoryStore::history() const {
  const std::lock_guard lock(mutex_);
  return history_;
}

std::map<std::string, Buffer> MemoryStore::objects() const {
  const std::lock_guard lock(mutex_);
  return objects_;
}

}  // namespace forerun::repository
