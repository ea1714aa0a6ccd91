#include "image/tree_builder.h"

#include <fmt/format.h>

#include "image/component_index.h"
#include "image/tree_limits.h"

namespace forerun::image {
namespace {

std::unexpected<Error> refuse(std::string_view path, std::string_view what) {
  return fail(ErrorCode::kInvalid, fmt::format("'{}' {}", path, what));
}

TreeInode plain_directory() {
  TreeInode inode;
  inode.kind = InodeKind::kDirectory;
  inode.mode = 0755;
  inode.gives_way = true;
  return inode;
}

// Checks what no later step would.
Status check_inode(std::string_view path, TreeInode& inode) {
  if (inode.mode > kModeMax || inode.mtime_ns > kNanosecondsMax)
    return refuse(path, "has a mode or a time out of range");
  if (inode.size > kFileSizeMax) return refuse(path, "is too large a file");
  if (inode.device_major > kDeviceMajorMax || inode.device_minor > kDeviceMinorMax)
    return refuse(path, "has a device number out of range");
  if (inode.kind == InodeKind::kSymlink &&
      (inode.target.empty() || inode.target.size() > kSymlinkBytesMax ||
       inode.target.find('\0') != std::string::npos))
    return refuse(path, "is a symbolic link whose target is empty, too long or has a NUL in it");
  if (inode.xattrs.size() > kXattrsMax) return refuse(path, "has too many extended attributes");
  std::sort(inode.xattrs.begin(), inode.xattrs.end(),
            [](const Xattr& a, const Xattr& b) { return a.name < b.name; });
  for (size_t i = 0; i < inode.xattrs.size(); ++i) {
    const auto& [name, value] = inode.xattrs[i];
    if (name.empty() || name.size() > kXattrNameBytesMax || name.find('\0') != std::string::npos ||
        value.size() > kXattrValueBytesMax)
      return refuse(path, "has an extended attribute of a bad name or too large a value");
    if (i > 0 && name == inode.xattrs[i - 1].name)
      return refuse(path, "has one extended attribute twice");
  }
  return {};
}

}  // namespace

bool is_valid_tree_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax && name != "." && name != ".." &&
         name.find('/') == name.npos && name.find('\0') == name.npos;
}

size_t TreeBuilder::Hash::operator()(const Child& child) const {
  return std::hash<std::string_view>()(child.name) ^ (child.parent * 0x9e3779b97f4a7c15u);
}
size_t TreeBuilder::Hash::operator()(uint32_t name) const {
  const TreeName& entry = builder->names_[name];
  return (*this)(Child{entry.parent, entry.name});
}
bool TreeBuilder::Equal::operator()(const Child& a, uint32_t b) const {
  const TreeName& entry = builder->names_[b];
  return entry.parent == a.parent && entry.name == a.name;
}

TreeBuilder::TreeBuilder() : children_(16, Hash{this}, Equal{this}) { begin(); }

void TreeBuilder::begin() {
  children_.clear();
  names_.assign(1, TreeName{});
  inodes_.assign(1, plain_directory());
}

std::optional<uint32_t> TreeBuilder::child(uint32_t parent, std::string_view name) const {
  const auto found = children_.find(Child{parent, name});
  if (found == children_.end()) return std::nullopt;
  return *found;
}

Result<uint32_t> TreeBuilder::append(uint32_t parent, std::string_view name, uint32_t inode) {
  if (names_.size() >= kTreeNamesMax) {
    return fail(
        ErrorCode::kTooLarge,
        fmt::format("'{}' is one name more than the {} a component may have", name, kTreeNamesMax));
  }
  names_.push_back({parent, inode, std::string(name)});
  const auto number = static_cast<uint32_t>(names_.size() - 1);
  children_.insert(number);
  return number;
}

// Returns the directory `name` in `parent`, made if nothing is there.
Result<uint32_t> TreeBuilder::open_directory(uint32_t parent, std::string_view name) {
  const auto existing = child(parent, name);
  if (existing && inode_of(*existing).kind == InodeKind::kDirectory) return *existing;
  if (existing && inode_of(*existing).kind != InodeKind::kWhiteout)
    return fail(ErrorCode::kInvalid, "is no directory");
  inodes_.push_back(plain_directory());
  const auto inode = static_cast<uint32_t>(inodes_.size() - 1);
  if (!existing) return append(parent, name, inode);
  inodes_.back().is_opaque = true;
  names_[*existing].inode = inode;
  return *existing;
}

Result<TreeBuilder::Place> TreeBuilder::resolve(std::string_view path) {
  if (path.empty()) return Place{0, "", 0};
  if (path.size() + 1 > kPathBytesMax) return refuse(path, "is too long a path");
  uint32_t parent = 0;
  size_t depth = 1;
  for (size_t start = 0;; ++depth) {
    const size_t end = std::min(path.find('/', start), path.size());
    const std::string_view part = path.substr(start, end - start);
    if (!is_valid_tree_name(part)) return refuse(path, "is no path within the component");
    if (depth > kTreeDepthMax) return refuse(path, "lies too deep");
    if (end == path.size()) return Place{parent, part, child(parent, part)};
    auto directory = open_directory(parent, part);
    if (!directory && directory.error().code != ErrorCode::kInvalid)
      return std::unexpected(std::move(directory.error()));
    if (!directory)
      return refuse(path,
                    fmt::format("leads through '{}', which is no directory", path.substr(0, end)));
    parent = *directory;
    start = end + 1;
  }
}

Status TreeBuilder::add(std::string_view path, TreeInode inode) {
  FR_CHECK(check_inode(path, inode));
  FR_ASSERT(inode.kind != InodeKind::kWhiteout, "whiteouts have a call of their own");
  const bool is_directory = inode.kind == InodeKind::kDirectory;
  FR_TRY(const Place place, resolve(path));
  if (place.existing) {
    TreeInode& old = inode_of(*place.existing);
    const bool was_directory = old.kind == InodeKind::kDirectory;
    if (was_directory && !is_directory)
      return refuse(path, "is a directory already and cannot become something else");
    if (is_directory && !was_directory && old.kind != InodeKind::kWhiteout)
      return refuse(path, "is something else already and cannot become a directory");
    if (is_directory) {
      inode.is_opaque |= old.is_opaque || old.kind == InodeKind::kWhiteout;
      old = std::move(inode);
      return {};
    }
  }
  inodes_.push_back(std::move(inode));
  const auto number = static_cast<uint32_t>(inodes_.size() - 1);
  if (place.existing) {
    names_[*place.existing].inode = number;
    return {};
  }
  FR_CHECK(append(place.parent, place.name, number));
  return {};
}

Status TreeBuilder::add_link(std::string_view path, std::string_view target) {
  uint32_t at = 0;
  for (size_t start = 0; start <= target.size();) {
    const size_t end = std::min(target.find('/', start), target.size());
    const auto found = child(at, target.substr(start, end - start));
    if (!found)
      return refuse(path, fmt::format("is a hard link to '{}', which is not there", target));
    at = *found;
    start = end + 1;
  }
  const InodeKind kind = inode_of(at).kind;
  if (kind == InodeKind::kDirectory || kind == InodeKind::kWhiteout)
    return refuse(path, fmt::format("is a hard link to '{}', which is no file", target));
  FR_TRY(const Place place, resolve(path));
  if (!place.existing) {
    FR_CHECK(append(place.parent, place.name, names_[at].inode));
    return {};
  }
  if (inode_of(*place.existing).kind == InodeKind::kDirectory)
    return refuse(path, "is a directory already and cannot become something else");
  names_[*place.existing].inode = names_[at].inode;
  return {};
}

Status TreeBuilder::add_whiteout(std::string_view path) {
  if (path.empty()) return refuse(path, "cannot remove the root");
  FR_TRY(const Place place, resolve(path));
  if (place.existing) {
    TreeInode& inode = inode_of(*place.existing);
    if (inode.kind == InodeKind::kDirectory) inode.is_opaque = true;
    return {};
  }
  inodes_.emplace_back().kind = InodeKind::kWhiteout;
  FR_CHECK(append(place.parent, place.name, static_cast<uint32_t>(inodes_.size() - 1)));
  return {};
}

Status TreeBuilder::set_opaque(std::string_view path) {
  uint32_t directory = 0;
  if (!path.empty()) {
    FR_TRY(const Place place, resolve(path));
    auto opened = open_directory(place.parent, place.name);
    if (!opened && opened.error().code == ErrorCode::kInvalid)
      return refuse(path, "is no directory and cannot hide what lies below");
    if (!opened) return std::unexpected(std::move(opened.error()));
    directory = *opened;
  }
  inode_of(directory).is_opaque = true;
  return {};
}

FileTree TreeBuilder::take() {
  FileTree tree = canonical({std::move(inodes_), std::move(names_)});
  begin();
  return tree;
}

}  // namespace forerun::image
