// The tree of the files that a caller made for a disk: the topmost input of tree_merge.h.
#pragma once

#include <deque>
#include <span>
#include <vector>

#include "image/tree_merge.h"

namespace forerun::image {

struct MergeStorage {
  std::deque<TreeInode> inodes;  // those whose access lists name mapped owners
  std::deque<Buffer> contents;
  std::deque<FileTree> followed;  // inputs whose directories lie over links to others
  FileTree generated;
  std::vector<const Buffer*> generated_content;  // by its inodes
  std::vector<bool> generated_is_implied;        // by its names
};

// Fills the generated part of `storage` from `files`, with the directories above them.
// ERRORS: kInvalid, naming the path: not absolute, given twice, below what is no directory.
Status build_generated_tree(std::span<const GeneratedFile> files, MergeStorage& storage);

}  // namespace forerun::image
