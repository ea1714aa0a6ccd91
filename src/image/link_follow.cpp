#include "image/link_follow.h"

#include <fmt/format.h>

#include <deque>
#include <map>

namespace forerun::image {
namespace {

constexpr size_t kHopsMax = 40;  // as Linux

// Orders paths depth first: '/' before every other byte.
struct DepthFirst {
  bool operator()(std::string_view a, std::string_view b) const {
    const auto rank = [](char c) { return c == '/' ? 0 : 1 + static_cast<unsigned char>(c); };
    return std::ranges::lexicographical_compare(a, b, {}, rank, rank);
  }
};

using Parts = std::deque<std::string>;

void prepend(Parts& parts, std::string_view path) {
  Parts front;
  while (!path.empty()) {
    const size_t end = std::min(path.find('/'), path.size());
    if (end > 0) front.emplace_back(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  parts.insert(parts.begin(), front.begin(), front.end());
}

std::optional<uint32_t> child_of(const MergedTree& tree, uint32_t parent, std::string_view name) {
  for (size_t i = parent + 1; i < tree.names.size() && tree.names[i].parent >= parent; ++i) {
    if (tree.names[i].parent == parent && tree.names[i].name == name)
      return static_cast<uint32_t>(i);
  }
  return std::nullopt;
}

// Whether two files of one component, at two names that become one, are the same.
bool are_same(const TreeInode& a, const TreeInode& b) {
  TreeInode like = a;
  like.mtime_s = b.mtime_s;
  like.mtime_ns = b.mtime_ns;
  like.extents = b.extents;
  return like == b;
}

}  // namespace

std::optional<std::string> follow_link(const MergedTree& tree, std::string_view link,
                                       std::string_view target) {
  Parts left;
  prepend(left, target);
  if (!target.starts_with('/')) prepend(left, link.substr(0, link.rfind('/')));
  uint32_t at = 0;
  for (size_t hops = 0; !left.empty();) {
    const std::string part = std::move(left.front());
    left.pop_front();
    if (part == ".") continue;
    if (part == "..") {
      at = tree.names[at].parent;
      continue;
    }
    const auto child = child_of(tree, at, part);
    if (!child) return std::nullopt;
    const TreeInode& inode = *tree.inodes[tree.names[*child].inode].source;
    if (inode.kind == InodeKind::kSymlink) {
      if (++hops > kHopsMax) return std::nullopt;
      if (inode.target.starts_with('/')) at = 0;
      prepend(left, inode.target);
    } else if (inode.kind == InodeKind::kDirectory) {
      at = *child;
    } else {
      return std::nullopt;
    }
  }
  const std::string path = tree.path_of(at);
  if (path == "/" || path == link || path.starts_with(fmt::format("{}/", link)))
    return std::nullopt;
  return path;
}

Result<FileTree> move_directory(const FileTree& tree, std::string_view from, std::string_view to) {
  FileTree moved;
  moved.inodes = tree.inodes;
  std::map<std::string, uint32_t, DepthFirst> entries;  // path: inode
  std::vector<std::pair<std::string, uint32_t>> moving;
  const std::string below = fmt::format("{}/", from);
  for (uint32_t i = 1; i < tree.names.size(); ++i) {
    std::string path = tree.path_of(i);
    if (path == from) continue;
    const uint32_t inode = tree.names[i].inode;
    if (path.starts_with(below)) {
      moving.emplace_back(fmt::format("{}/{}", to, path.substr(below.size())), inode);
    } else {
      entries.emplace(std::move(path), inode);
    }
  }
  for (size_t end = to.find('/', 1); end != 0; end = to.find('/', end + 1)) {
    const std::string path(to.substr(0, end));
    const auto [entry, is_new] =
        entries.try_emplace(path, static_cast<uint32_t>(moved.inodes.size()));
    if (is_new) {
      TreeInode& made = moved.inodes.emplace_back();
      made.kind = InodeKind::kDirectory;
      made.mode = 0755;
      made.gives_way = true;
    } else if (moved.inodes[entry->second].kind != InodeKind::kDirectory) {
      return fail(
          ErrorCode::kInvalid,
          fmt::format("{} is a link to {} on this disk, which it has as no directory", from, to));
    }
    if (end == to.npos) break;
  }
  for (auto& [path, inode] : moving) {
    const auto [entry, is_new] = entries.try_emplace(path, inode);
    if (is_new || entry->second == inode) continue;
    const TreeInode& there = moved.inodes[entry->second];
    const TreeInode& here = moved.inodes[inode];
    const bool are_directories =
        there.kind == InodeKind::kDirectory && here.kind == InodeKind::kDirectory;
    if (!are_directories && !are_same(there, here))
      return fail(ErrorCode::kInvalid,
                  fmt::format("{} is a link to {} on this disk, and it has {} in both, not equal",
                              from, to, path));
  }
  // Depth first: the parent of each is the last name that is one part shorter on the way.
  moved.names.push_back(tree.names[0]);
  std::vector<std::pair<std::string, uint32_t>> open;  // directories above, with their numbers
  for (const auto& [path, inode] : entries) {
    while (!open.empty() && !path.starts_with(open.back().first + "/")) open.pop_back();
    const uint32_t parent = open.empty() ? 0 : open.back().second;
    open.emplace_back(path, static_cast<uint32_t>(moved.names.size()));
    moved.names.push_back({parent, inode, path.substr(path.rfind('/') + 1)});
  }
  return moved;
}

}  // namespace forerun::image
