#include "image/file_tree.h"

#include <algorithm>

namespace forerun::image {
namespace {

constexpr uint32_t kUnnumbered = UINT32_MAX;

// The children of every name, in one array: those of name n are [first[n], first[n + 1]).
struct Children {
  std::vector<uint32_t> first;
  std::vector<uint32_t> names;
};

Children children_of(const std::vector<TreeName>& names) {
  Children children;
  children.first.assign(names.size() + 1, 0);
  for (size_t i = 1; i < names.size(); ++i) ++children.first[names[i].parent + 1];
  for (size_t i = 0; i < names.size(); ++i) children.first[i + 1] += children.first[i];
  children.names.resize(names.empty() ? 0 : names.size() - 1);
  std::vector<uint32_t> next(children.first.begin(), children.first.end() - 1);
  for (size_t i = 1; i < names.size(); ++i) {
    children.names[next[names[i].parent]++] = static_cast<uint32_t>(i);
  }
  for (size_t i = 0; i < names.size(); ++i) {
    std::sort(children.names.begin() + children.first[i],
              children.names.begin() + children.first[i + 1],
              [&](uint32_t a, uint32_t b) { return names[a].name < names[b].name; });
  }
  return children;
}

// Returns the names depth first, without recursion: a tree may be as deep as it has names.
std::vector<uint32_t> depth_first(const Children& children, size_t count) {
  std::vector<uint32_t> order;
  order.reserve(count);
  std::vector<uint32_t> open;
  if (count > 0) open.push_back(0);
  while (!open.empty()) {
    const uint32_t name = open.back();
    open.pop_back();
    order.push_back(name);
    for (uint32_t i = children.first[name + 1]; i > children.first[name]; --i) {
      open.push_back(children.names[i - 1]);
    }
  }
  return order;
}

}  // namespace

std::string FileTree::path_of(uint32_t name) const {
  if (name == 0) return "/";
  std::vector<uint32_t> line;
  for (; name != 0; name = names[name].parent) line.push_back(name);
  std::string path;
  for (auto it = line.rbegin(); it != line.rend(); ++it) {
    path += '/';
    path += names[*it].name;
  }
  return path;
}

std::optional<uint32_t> FileTree::find(std::string_view path) const {
  if (names.empty() || path.empty() || path[0] != '/') return std::nullopt;
  uint32_t at = 0;
  path.remove_prefix(1);
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, slash);
    if (part.empty()) return std::nullopt;
    // A name stands after its directory: the whole way down is one pass.
    uint32_t child = at + 1;
    while (child < names.size() && (names[child].parent != at || names[child].name != part)) {
      ++child;
    }
    if (child == names.size()) return std::nullopt;
    at = child;
    path.remove_prefix(slash);
    if (path.empty()) break;
    path.remove_prefix(1);
    if (path.empty()) return std::nullopt;  // "/etc/" is not how a name is written
  }
  return at;
}

FileTree canonical(FileTree tree) {
  const Children children = children_of(tree.names);
  FileTree out;
  out.names.reserve(tree.names.size());
  out.inodes.reserve(tree.inodes.size());
  std::vector<uint32_t> new_name(tree.names.size());
  std::vector<uint32_t> new_inode(tree.inodes.size(), kUnnumbered);
  for (const uint32_t old : depth_first(children, tree.names.size())) {
    TreeName& name = tree.names[old];
    uint32_t& inode = new_inode[name.inode];
    if (inode == kUnnumbered) {
      inode = static_cast<uint32_t>(out.inodes.size());
      out.inodes.push_back(std::move(tree.inodes[name.inode]));
    }
    new_name[old] = static_cast<uint32_t>(out.names.size());
    out.names.push_back({new_name[name.parent], inode, std::move(name.name)});
  }
  return out;
}

}  // namespace forerun::image
