// Packages that were imported as such, without dpkg at hand (deb_import.h): each component says
// what dpkg's database should know of them, in files of /var/lib/dpkg/status.d (as images without
// dpkg have them). On a disk with dpkg's status file they go into it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "image/component_files.h"

namespace forerun::image {

struct PackageRecord {
  uint32_t component = 0;
  std::string path;  // "/var/lib/dpkg/status.d/nginx"
  std::string text;  // a stanza
};

// Returns the records of all components but the base. ERRORS: as ComponentFiles::text.
Result<std::vector<PackageRecord>> find_package_records(std::span<const ComponentFiles> components);

// Returns the status file with the records: `base` is the base's, `merged` that of all components
// so far. Of two records of one package, that of the component that was built on the other counts.
// sees: as merge_by_kind's. ERRORS: kInvalid, naming both sides, if components that do not see each
// other differ on a package.
Result<std::string> add_package_records(const std::string& base, const std::string& merged,
                                        std::span<const PackageRecord> records,
                                        std::span<const ComponentFiles> components,
                                        std::span<const std::vector<uint32_t>> sees);

}  // namespace forerun::image
