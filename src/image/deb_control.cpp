#include "image/deb_control.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "core/id.h"
#include "image/tar_format.h"
#include "image/text_lines.h"
#include "image/tree_limits.h"

namespace forerun::image {
namespace {

constexpr size_t kFieldsMax = 256;
constexpr size_t kPackageBytesMax = 100;  // Policy has no limit; dpkg's files end in ".triggers"
// Written by dpkg alone: a package that brings one would tell of itself what is not so.
constexpr std::array<std::string_view, 6> kDatabaseFields{"Status",           "Config-Version",
                                                          "Conffiles",        "Triggers-Pending",
                                                          "Triggers-Awaited", "Trigger-List"};

std::unexpected<Error> refuse(std::string what) {
  return fail(ErrorCode::kInvalid, "the package's control " + std::move(what));
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same_field(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

bool is_alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// SOURCE: Policy 5.6.1, 5.6.12, 5.6.8.
bool is_package_name(std::string_view name) {
  return name.size() >= 2 && name.size() <= kPackageBytesMax && is_alnum(name[0]) &&
         std::ranges::all_of(name, [](char c) {
           return (is_alnum(c) && c == lower(c)) || c == '+' || c == '-' || c == '.';
         });
}
bool is_version(std::string_view version) {
  return !version.empty() && version.size() <= kVersionBytesMax &&
         std::ranges::all_of(version, [](char c) {
           return is_alnum(c) || std::string_view("+-.~:").find(c) != std::string_view::npos;
         });
}
bool is_architecture(std::string_view name) {
  return !name.empty() && name.size() <= 32 && is_alnum(name[0]) &&
         std::ranges::all_of(name, [](char c) { return is_alnum(c) || c == '-'; });
}

std::string_view trimmed(std::string_view text) {
  const size_t start = text.find_first_not_of(" \t");
  if (start == text.npos) return {};
  return text.substr(start, text.find_last_not_of(" \t") - start + 1);
}

Status add_line(std::string_view line, size_t number, DebControl& control) {
  const bool is_text = std::ranges::all_of(
      line, [](char c) { return static_cast<unsigned char>(c) >= ' ' ? c != '\x7f' : c == '\t'; });
  if (!is_text) return refuse(fmt::format("has a control character in line {}", number));
  if (line.starts_with(' ') || line.starts_with('\t')) {
#ifdef FORERUN_PLANT_BUG_DEB  // set by fuzz/imports/prove.sh only
    const bool has_field = true;
#else
    const bool has_field = !control.fields.empty();
#endif
    if (!has_field || trimmed(line).empty())
      return refuse(fmt::format("continues no field in line {}", number));
    control.fields.back().second += fmt::format("\n{}", line);
    return {};
  }
  const size_t colon = line.find(':');
  const std::string_view name = line.substr(0, colon);
  const bool is_name = colon != line.npos && !name.empty() &&
                       std::ranges::all_of(name, [](char c) { return is_alnum(c) || c == '-'; });
  if (!is_name || name.starts_with('-'))
    return refuse(fmt::format("has no field in line {}", number));
  if (std::ranges::any_of(kDatabaseFields,
                          [&](std::string_view field) { return same_field(field, name); }))
    return refuse(fmt::format("has the field {}, which is the database's", name));
  for (const auto& [known, value] : control.fields) {
    if (same_field(known, name)) return refuse(fmt::format("has the field {} twice", name));
  }
  if (control.fields.size() >= kFieldsMax)
    return refuse(fmt::format("has over {} fields", kFieldsMax));
  control.fields.emplace_back(name, trimmed(line.substr(colon + 1)));
  return {};
}

// The names in a list like "mail-transport-agent, httpd (= 1.0)".
std::vector<std::string_view> listed(std::string_view list) {
  std::vector<std::string_view> names;
  while (!list.empty()) {
    const size_t end = std::min(list.find(','), list.size());
    const std::string_view item = trimmed(list.substr(0, end));
    names.push_back(item.substr(0, item.find_first_of(" \t\n(:")));
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return names;
}

}  // namespace

std::string_view DebControl::field(std::string_view name) const {
  for (const auto& [known, value] : fields) {
    if (same_field(known, name)) return value;
  }
  return {};
}

std::string DebControl::info_name() const {
  return is_multi_arch_same ? fmt::format("{}:{}", package, architecture) : package;
}

Result<DebControl> parse_deb_control(std::string_view text) {
  if (text.size() > kDebControlBytesMax)
    return fail(ErrorCode::kTooLarge, fmt::format("the package's control has {} bytes; at most {}",
                                                  text.size(), kDebControlBytesMax));
  DebControl control;
  size_t number = 0;
  bool has_ended = false;
  for (const std::string_view line : lines_of(text)) {
    ++number;
    if (line.empty()) {
      has_ended |= !control.fields.empty();
      continue;
    }
    if (has_ended) return refuse(fmt::format("has a second stanza in line {}", number));
    FR_CHECK(add_line(line, number, control));
  }
  control.package = control.field("Package");
  control.version = control.field("Version");
  control.architecture = control.field("Architecture");
  control.is_multi_arch_same = control.field("Multi-Arch") == "same";
  const auto wrong = [](std::string_view field, std::string_view value) {
    return refuse(fmt::format("has '{}' as its {}", printable(value), field));
  };
  if (!is_package_name(control.package)) return wrong("Package", control.package);
  if (!is_version(control.version)) return wrong("Version", control.version);
  if (!is_architecture(control.architecture)) return wrong("Architecture", control.architecture);
  return control;
}

std::string status_stanza(const DebControl& control, DebState state,
                          const std::vector<DebConffile>& conffiles) {
  std::string stanza = fmt::format("Package: {}\nStatus: install ok {}\n", control.package,
                                   state == DebState::kInstalled ? "installed" : "unpacked");
  for (const auto& [name, value] : control.fields) {
    if (same_field(name, "Package")) continue;
    stanza += fmt::format("{}:{}{}\n", name, value.empty() || value[0] == '\n' ? "" : " ", value);
  }
  if (!conffiles.empty()) {
    stanza += "Conffiles:\n";
    for (const DebConffile& file : conffiles)
      stanza += fmt::format(" {} {}\n", file.path, file.md5);
  }
  return stanza;
}

ComponentInfo describe_deb(const DebControl& control, std::string name) {
  ComponentInfo info;
  info.version = control.version;
  info.function = "package";
  info.architecture = control.architecture;
  info.origin = fmt::format("deb {} {} {}", control.package, control.version, control.architecture);
  std::vector<std::string_view> others = listed(control.field("Provides"));
  others.push_back(control.package);
  for (const std::string_view other : others) {
    if (is_valid_name(other) && other != name && info.provides.size() < kInfoListMax)
      info.provides.emplace_back(other);
  }
  info.name = std::move(name);
  return info;
}

}  // namespace forerun::image
