#include "image/generated_tree.h"

#include <fmt/format.h>

#include "image/tree_limits.h"

namespace forerun::image {
namespace {

// Compares paths as depth first order has them: '/' before every other byte.
bool precedes(std::string_view a, std::string_view b) {
  const auto rank = [](char c) { return c == '/' ? 0 : 1 + static_cast<unsigned char>(c); };
  return std::ranges::lexicographical_compare(a, b, {}, rank, rank);
}

Result<std::vector<std::string_view>> split_path(const std::string& path) {
  std::vector<std::string_view> parts;
  const auto invalid = [&] {
    return fail(ErrorCode::kInvalid, fmt::format("the path '{}' cannot be generated", path));
  };
  if (path.size() < 2 || path[0] != '/') return invalid();
  for (size_t at = 1; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string_view part = std::string_view(path).substr(at, end - at);
    if (part.empty() || part == "." || part == ".." || part.size() > kNameBytesMax ||
        part.find('\0') != part.npos) {
      return invalid();
    }
    parts.push_back(part);
    at = end + 1;
  }
  return parts;
}

// Builds the tree of the generated files, with the directories above them.
class GeneratedTree {
 public:
  explicit GeneratedTree(MergeStorage& storage) : storage_(storage) {}

  Status add(const GeneratedFile& file) {
    FR_TRY(const std::vector<std::string_view> parts, split_path(file.path));
    size_t common = 0;
    while (common < open_.size() && common < parts.size() &&
           storage_.generated.names[open_[common]].name == parts[common]) {
      ++common;
    }
    const auto refuse = [&](std::string_view why) {
      return fail(ErrorCode::kInvalid, fmt::format("the generated path '{}' {}", file.path, why));
    };
    if (common == parts.size()) return refuse("is given twice");
    if (!is_valid(file.inode)) return refuse("has attributes that no file has");
    open_.resize(common);
    if (common > 0) {
      const TreeName& above = storage_.generated.names[open_.back()];
      if (storage_.generated.inodes[above.inode].kind != InodeKind::kDirectory) {
        return refuse("is below one that is no directory");
      }
    }
    if (storage_.generated.names.empty()) add_name({}, directory(), nullptr, true);
    for (size_t i = common; i + 1 < parts.size(); ++i) {
      add_name(parts[i], directory(), nullptr, true);
    }
    TreeInode inode = file.inode;
    inode.extents.clear();
    const Buffer* content = nullptr;
    if (inode.kind == InodeKind::kRegular) {
      content = &storage_.contents.emplace_back(file.content);
      inode.size = file.content.size();
    }
    add_name(parts.back(), std::move(inode), content, false);
    return {};
  }

 private:
  // As a component's index may have it.
  static bool is_valid(const TreeInode& inode) {
    const size_t target = inode.kind == InodeKind::kSymlink ? inode.target.size() : 1;
    return inode.mode <= kModeMax && inode.mtime_ns <= kNanosecondsMax && target > 0 &&
           target <= kSymlinkBytesMax && inode.device_major <= kDeviceMajorMax &&
           inode.device_minor <= kDeviceMinorMax;
  }

  static TreeInode directory() {
    TreeInode inode;
    inode.kind = InodeKind::kDirectory;
    inode.mode = 0755;
    inode.gives_way = true;
    return inode;
  }

  void add_name(std::string_view name, TreeInode inode, const Buffer* content, bool is_implied) {
    FileTree& tree = storage_.generated;
    const auto number = static_cast<uint32_t>(tree.names.size());
    const uint32_t parent = open_.empty() ? 0 : open_.back();
    tree.names.push_back({parent, number, std::string(name)});
    tree.inodes.push_back(std::move(inode));
    storage_.generated_content.push_back(content);
    storage_.generated_is_implied.push_back(is_implied);
    if (number > 0) open_.push_back(number);
  }

  MergeStorage& storage_;
  std::vector<uint32_t> open_;  // the names of the last path, without the root
};

}  // namespace

Status build_generated_tree(std::span<const GeneratedFile> files, MergeStorage& storage) {
  std::vector<const GeneratedFile*> sorted;
  for (const GeneratedFile& file : files) sorted.push_back(&file);
  std::ranges::sort(sorted, [](const GeneratedFile* a, const GeneratedFile* b) {
    return precedes(a->path, b->path);
  });
  GeneratedTree builder(storage);
  for (const GeneratedFile* file : sorted) FR_CHECK(builder.add(*file));
  return {};
}

Buffer map_acl(ByteView value, const IdMap& ids) {
  constexpr uint32_t kVersion = 2;
  constexpr size_t kHeadSize = 4, kEntrySize = 8;
  constexpr uint16_t kUser = 0x02, kGroup = 0x08;
  Buffer mapped(value.begin(), value.end());
  uint32_t version = 0;
  if (value.size() < kHeadSize || (value.size() - kHeadSize) % kEntrySize != 0) return mapped;
  std::memcpy(&version, value.data(), sizeof version);
  if (version != kVersion) return mapped;
  for (size_t at = kHeadSize; at < mapped.size(); at += kEntrySize) {
    uint16_t tag = 0;
    uint32_t id = 0;
    std::memcpy(&tag, &mapped[at], sizeof tag);
    std::memcpy(&id, &mapped[at + 4], sizeof id);
    if (tag == kUser && ids.user) id = ids.user(id);
    if (tag == kGroup && ids.group) id = ids.group(id);
    std::memcpy(&mapped[at + 4], &id, sizeof id);
  }
  return mapped;
}

}  // namespace forerun::image
