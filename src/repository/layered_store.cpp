#include "repository/layered_store.h"

#include <optional>

namespace forerun::repository {

LayeredStore::LayeredStore(Store& front, std::vector<Source*> behind)
    : front_(front), behind_([&] {
        std::erase(behind, &front);
        return std::move(behind);
      }()) {}

Result<Buffer> LayeredStore::fetch(const std::string& path, size_t size_max) {
  auto found = front_.fetch(path, size_max);
  if (found) return found;
  for (Source* source : behind_) {
    auto next = source->fetch(path, size_max);
    if (next) return next;
    if (found.error().code == ErrorCode::kNotFound) found = std::move(next);
  }
  return found;
}

}  // namespace forerun::repository
