#include "daemon/exports.h"

#include "core/log.h"
#include "daemon/served_disk.h"

namespace forerun::daemon {

Result<nbd::Export> Exports::open_image(const std::string& image) {
  FR_TRY(const auto found, catalog_.open(image));
  nbd::Export entry;
  entry.description = fmt::format("image {}, read-only", image);
  const std::lock_guard lock(mutex_);
  std::weak_ptr<disk::BlockDevice>& open = images_[found.layout->digest];
  entry.device = open.lock();
  if (entry.device) return entry;
  ServedDisk::What what;
  what.layout = found.layout;
  what.is_observed = false;
  FR_TRY(entry.device, ServedDisk::open(std::move(what), clock_, tier_, fetches_, foresight_));
  open = entry.device;
  return entry;
}

nbd::Export Exports::find(std::string_view name) {
  if (!name.starts_with(kImagePrefix)) return vms_.find(name);
  const std::string image(name.substr(kImagePrefix.size()));
  if (!is_valid_name(image)) return {};
  auto entry = open_image(image);
  if (entry) return std::move(*entry);
  log::warn("export {}: {}", name, entry.error().message);
  return {};
}

std::vector<nbd::ExportEntry> Exports::list(const std::string* after, size_t count_max) {
  // Both lists are sorted; "images/…" is merged in by name.
  std::vector<nbd::ExportEntry> all = vms_.list(after, count_max);
  if (const auto names = catalog_.names()) {
    for (const std::string& name : *names) {
      const std::string full = std::string(kImagePrefix) + name;
      if (after == nullptr || full > *after)
        all.push_back({full, fmt::format("image {}, read-only", name)});
    }
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  if (all.size() > count_max) all.resize(count_max);
  return all;
}

}  // namespace forerun::daemon
