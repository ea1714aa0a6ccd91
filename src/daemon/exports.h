// What the NBD server offers: the disk of each running VM under its name, and each image,
// read-only, as images/NAME.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "daemon/fetch_service.h"
#include "daemon/foresight.h"
#include "daemon/image_catalog.h"
#include "export/export_provider.h"

namespace forerun::daemon {

// Thread-safe.
class Exports final : public nbd::ExportProvider {
 public:
  static constexpr std::string_view kImagePrefix = "images/";

  Exports(ImageCatalog& catalog, const Clock& clock, tier::Tier& tier, FetchService& fetches,
          Foresight& foresight)
      : catalog_(catalog), clock_(clock), tier_(tier), fetches_(fetches), foresight_(foresight) {}

  Status add(const std::string& name, nbd::Export entry) {
    return vms_.add(name, std::move(entry));
  }
  bool remove(std::string_view name) { return vms_.remove(name); }

  nbd::Export find(std::string_view name) override;
  std::vector<nbd::ExportEntry> list(const std::string* after, size_t count_max) override;

 private:
  Result<nbd::Export> open_image(const std::string& image);

  nbd::ExportTable vms_;
  ImageCatalog& catalog_;
  const Clock& clock_;
  tier::Tier& tier_;
  FetchService& fetches_;
  Foresight& foresight_;

  std::mutex mutex_;  // guards images_
  std::map<Digest, std::weak_ptr<disk::BlockDevice>>
      images_;  // open ones, shared by their connections
};

}  // namespace forerun::daemon
