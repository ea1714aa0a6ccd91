// A file tree put together from entries by path, in the order in which an archive has them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "core/result.h"
#include "image/file_tree.h"

namespace forerun::image {

// One thread. Paths are relative to the root and plain: "usr/bin/env", without ".", ".." or empty
// parts; "" is the root. Whatever they claim, they lead nowhere but into this tree: every part but
// the last must be a directory of it. Directories that no entry names, the root too, are made:
// 0755, root's, of time 0; they give way. All errors are kInvalid (kTooLarge over a limit) and name
// the path.
class TreeBuilder {
 public:
  TreeBuilder();
  TreeBuilder(const TreeBuilder&) = delete;
  TreeBuilder& operator=(const TreeBuilder&) = delete;

  // Adds `inode` as `path`. A file, link or device replaces another; a directory gives an existing
  // one its attributes and keeps what is in it; neither replaces the other. What was a whiteout
  // hides what lies below all the same: a directory in its place is opaque. `inode` must have all
  // that its kind asks for but data: extents, content and size are as given.
  Status add(std::string_view path, TreeInode inode);
  // Gives the file `target` another name. It must be there already: no directory, no whiteout.
  Status add_link(std::string_view path, std::string_view target);
  // `path` is removed from what lies below. What this tree has there itself stays (and hides what
  // lies below: a directory becomes opaque).
  Status add_whiteout(std::string_view path);
  // The directory at `path` hides the one below it.
  Status set_opaque(std::string_view path);

  size_t name_count() const { return names_.size(); }
  // Returns the tree in canonical form and begins anew.
  FileTree take();

 private:
  struct Child {
    uint32_t parent;
    std::string_view name;
  };
  struct Hash {
    using is_transparent = void;
    const TreeBuilder* builder;
    size_t operator()(const Child& child) const;
    size_t operator()(uint32_t name) const;
  };
  struct Equal {
    using is_transparent = void;
    const TreeBuilder* builder;
    bool operator()(uint32_t a, uint32_t b) const { return a == b; }
    bool operator()(const Child& a, uint32_t b) const;
    bool operator()(uint32_t a, const Child& b) const { return (*this)(b, a); }
  };
  // Where a path leads: the directory, the last part, and its name if it is there.
  struct Place {
    uint32_t parent = 0;
    std::string_view name;
    std::optional<uint32_t> existing;
  };

  Result<Place> resolve(std::string_view path);
  Result<uint32_t> open_directory(uint32_t parent, std::string_view name);
  Result<uint32_t> append(uint32_t parent, std::string_view name, uint32_t inode);
  std::optional<uint32_t> child(uint32_t parent, std::string_view name) const;
  TreeInode& inode_of(uint32_t name) { return inodes_[names_[name].inode]; }
  void begin();

  std::vector<TreeName> names_;
  std::vector<TreeInode> inodes_;
  std::unordered_set<uint32_t, Hash, Equal> children_;  // every name but the root's
};

// Returns whether `name` may stand in a directory.
bool is_valid_tree_name(std::string_view name);

}  // namespace forerun::image
