#include "export/export_provider.h"

#include "export/nbd_protocol.h"

namespace forerun::nbd {

Status ExportTable::add(const std::string& name, Export entry) {
  FR_ASSERT(entry.device != nullptr, "an export needs a device");
  if (name.size() > kNameBytesMax || entry.description.size() > kNameBytesMax)
    return fail(
        ErrorCode::kInvalid,
        fmt::format("an export's name and description have at most {} bytes", kNameBytesMax));
  const std::lock_guard lock(mutex_);
  if (!exports_.try_emplace(name, std::move(entry)).second)
    return fail(ErrorCode::kExists, fmt::format("export '{}' exists", name));
  return {};
}

bool ExportTable::remove(std::string_view name) {
  Export removed;  // a device may be destroyed with it: not under the lock
  const std::lock_guard lock(mutex_);
  const auto found = exports_.find(name);
  if (found == exports_.end()) return false;
  removed = std::move(found->second);
  exports_.erase(found);
  return true;
}

Export ExportTable::find(std::string_view name) {
  const std::lock_guard lock(mutex_);
  const auto found = exports_.find(name);
  return found == exports_.end() ? Export{} : found->second;
}

std::vector<ExportEntry> ExportTable::list(const std::string* after, size_t count_max) {
  const std::lock_guard lock(mutex_);
  std::vector<ExportEntry> entries;
  for (auto entry = after == nullptr ? exports_.begin() : exports_.upper_bound(*after);
       entry != exports_.end() && entries.size() < count_max; ++entry)
    entries.push_back({entry->first, entry->second.description});
  return entries;
}

}  // namespace forerun::nbd
