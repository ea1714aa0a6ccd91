#include "repository/layered_store.h"

#include <optional>

namespace forerun::repository {

namespace {

constexpr std::string_view kKeptFolder = "components/";

}  // namespace

LayeredStore::LayeredStore(Store& front, std::vector<Source*> behind, Store* keep)
    : front_(front),
      behind_([&] {
        std::erase(behind, &front);
        return std::move(behind);
      }()),
      keep_(keep) {}

bool LayeredStore::contains(const std::string& path) {
  return front_.contains(path) || (is_kept(path) && keep_->contains(path));
}

bool LayeredStore::is_kept(const std::string& path) const {
  return keep_ != nullptr && path.starts_with(kKeptFolder);
}

Result<Buffer> LayeredStore::fetch(const std::string& path, size_t size_max) {
  auto found = front_.fetch(path, size_max);
  if (found) return found;
  if (is_kept(path)) {
    if (auto kept = keep_->fetch(path, size_max)) return kept;
  }
  for (Source* source : behind_) {
    auto next = source->fetch(path, size_max);
    if (next) {
      // Only what is what its name says; whether it can be kept is nobody's trouble.
      if (is_kept(path) && sha256(*next).hex() == path.substr(kKeptFolder.size())) [[maybe_unused]]
        const auto kept = keep_->put(path, *next);
      return next;
    }
    if (found.error().code == ErrorCode::kNotFound) found = std::move(next);
  }
  return found;
}

}  // namespace forerun::repository
