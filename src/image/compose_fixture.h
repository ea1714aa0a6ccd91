// Builds components by hand: for tests and benchmarks of what composes them.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "core/id.h"
#include "image/file_tree.h"

namespace forerun::image {

// A tree and its data: each distinct content once, at a multiple of 4096, in the order of addition.
class ComponentFixture {
 public:
  ComponentFixture() {
    TreeInode root;
    root.kind = InodeKind::kDirectory;
    root.mode = 0755;
    tree_.inodes.push_back(root);
    tree_.names.push_back({0, 0, ""});
    paths_["/"] = 0;
  }

  // Adds `inode` at `path`, whose directory must be there. Returns it, to be changed further; valid
  // until the next call.
  TreeInode& add(const std::string& path, InodeKind kind, uint16_t mode = 0644) {
    const auto inode = static_cast<uint32_t>(tree_.inodes.size());
    tree_.inodes.emplace_back();
    tree_.inodes.back().kind = kind;
    tree_.inodes.back().mode = mode;
    tree_.inodes.back().mtime_s = 1'700'000'000;
    add_name(path, inode);
    return tree_.inodes.back();
  }
  TreeInode& directory(const std::string& path, uint16_t mode = 0755) {
    return add(path, InodeKind::kDirectory, mode);
  }
  TreeInode& whiteout(const std::string& path) { return add(path, InodeKind::kWhiteout, 0); }
  TreeInode& symlink(const std::string& path, std::string target) {
    TreeInode& inode = add(path, InodeKind::kSymlink, 0777);
    inode.target = std::move(target);
    return inode;
  }
  TreeInode& file(const std::string& path, ByteView content) {
    TreeInode& inode = add(path, InodeKind::kRegular);
    inode.size = content.size();
    inode.content = sha256(content);
    if (content.empty()) return inode;
    const auto [at, is_new] = contents_.try_emplace(inode.content, data_.size());
    if (is_new) {
      data_.insert(data_.end(), content.begin(), content.end());
      data_.resize(round_up(data_.size(), 4096));
    }
    inode.extents.push_back({0, at->second, content.size()});
    return inode;
  }
  TreeInode& file(const std::string& path, std::string_view text) {
    return file(path, as_bytes(text));
  }
  void hard_link(const std::string& path, const std::string& existing) {
    add_name(path, tree_.names[paths_.at(existing)].inode);
  }

  Buffer& data() { return data_; }
  // Returns the tree in its canonical form.
  FileTree tree() const { return canonical(tree_); }

 private:
  void add_name(const std::string& path, uint32_t inode) {
    const size_t slash = path.rfind('/');
    const uint32_t parent = paths_.at(slash == 0 ? "/" : path.substr(0, slash));
    paths_[path] = static_cast<uint32_t>(tree_.names.size());
    tree_.names.push_back({parent, inode, path.substr(slash + 1)});
  }

  FileTree tree_;
  Buffer data_;
  std::map<std::string, uint32_t> paths_;  // index into the tree's names
  std::map<Digest, uint64_t> contents_;    // where each stands in the data
};

}  // namespace forerun::image
