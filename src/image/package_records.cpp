#include "image/package_records.h"

#include <fmt/format.h>

#include <array>
#include <map>

#include "image/text_merge.h"

namespace forerun::image {
namespace {

constexpr std::string_view kFolder = "/var/lib/dpkg/status.d";
constexpr std::array<std::string_view, 2> kPackage{"Package", "Architecture"};
constexpr uint64_t kRecordBytesMax = 2 * kMiB;
constexpr size_t kRecordsMax = 10'000;

// Returns the names of the files in `folder`.
std::vector<std::string> files_in(const FileTree& tree, std::string_view folder) {
  std::vector<std::string> names;
  const auto parent = tree.find(folder);
  if (!parent) return names;
  for (size_t i = *parent + 1; i < tree.names.size() && tree.names[i].parent >= *parent; ++i) {
    const TreeName& name = tree.names[i];
    if (name.parent == *parent && tree.inodes[name.inode].kind == InodeKind::kRegular)
      names.push_back(name.name);
  }
  return names;
}

}  // namespace

Result<std::vector<PackageRecord>> find_package_records(
    std::span<const ComponentFiles> components) {
  std::vector<PackageRecord> records;
  for (uint32_t i = 1; i < components.size(); ++i) {
    for (const std::string& name : files_in(components[i].index().tree, kFolder)) {
      if (records.size() >= kRecordsMax)
        return fail(ErrorCode::kTooLarge, fmt::format("over {} files in {}", kRecordsMax, kFolder));
      std::string path = fmt::format("{}/{}", kFolder, name);
      FR_TRY(auto text, components[i].text(path, kRecordBytesMax));
      records.push_back({i, std::move(path), text ? std::move(*text) : std::string()});
    }
  }
  return records;
}

Result<std::string> add_package_records(const std::string& base, const std::string& merged,
                                        std::span<const PackageRecord> records,
                                        std::span<const ComponentFiles> components,
                                        std::span<const std::vector<uint32_t>> sees) {
  const auto is_replaced = [&](const PackageRecord& record) {
    return std::ranges::any_of(records, [&](const PackageRecord& other) {
      return other.path == record.path && other.component < sees.size() &&
             std::ranges::find(sees[other.component], record.component) !=
                 sees[other.component].end();
    });
  };
  std::map<uint32_t, std::string> texts;  // by component: what it has beyond the base
  for (const PackageRecord& record : records) {
    if (!is_replaced(record)) texts[record.component] += record.text + "\n\n";
  }
  std::vector<TextVersion> versions;
  if (merged != base) versions.push_back({"another component", merged});
  // The first stanza of a package counts: its record replaces the base's.
  for (const auto& [component, text] : texts)
    versions.push_back({components[component].name(), text + base});
  return merge_records({components[0].name(), base}, versions, {.key = kPackage});
}

}  // namespace forerun::image
