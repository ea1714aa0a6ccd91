// What a Debian package says of itself: its control stanza, and what dpkg's database says of it
// once it is unpacked. SOURCE: deb-control(5), Debian Policy 5, dpkg's status file.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/result.h"
#include "image/component_index.h"

namespace forerun::image {

// The fields in their order: names as written, values with the lines that continue them.
struct DebControl {
  std::string package, version, architecture;
  bool is_multi_arch_same = false;
  std::vector<std::pair<std::string, std::string>> fields;

  // Returns the value of a field, whatever its letters' case; empty if it is not there.
  std::string_view field(std::string_view name) const;
  // What names its files in dpkg's database: "nginx", "libc6:amd64".
  std::string info_name() const;
};

inline constexpr size_t kDebControlBytesMax = 1024 * 1024;

// ERRORS: kInvalid, naming line or field: not one stanza, a field twice, one that only dpkg's
// database has, no proper package, version or architecture; kTooLarge.
Result<DebControl> parse_deb_control(std::string_view text);

// A file that dpkg asks about before it replaces it.
struct DebConffile {
  std::string path;  // absolute
  std::string md5;   // hex
};

// What is left to do before the package works.
enum class DebState {
  kInstalled,  // nothing: no script belongs to it
  kUnpacked,   // dpkg --configure: its scripts have not run
};

// Returns its stanza of /var/lib/dpkg/status.
std::string status_stanza(const DebControl& control, DebState state,
                          const std::vector<DebConffile>& conffiles);

// Returns what a component of it says: version, architecture, and as provides what Provides and
// Package name, as far as it can name a component. Its own dependencies are dpkg's to judge: they
// name packages, not components.
ComponentInfo describe_deb(const DebControl& control, std::string name);

}  // namespace forerun::image
