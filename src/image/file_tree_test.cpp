#include "image/file_tree.h"

#include <gtest/gtest.h>

namespace forerun::image {
namespace {

TreeInode inode_of(InodeKind kind, uint32_t uid) {
  TreeInode inode;
  inode.kind = kind;
  inode.uid = uid;
  return inode;
}

// "/", "/b", "/b/z", "/b/a", "/a-b", "/a", "/a/x" in an order of no meaning, with an inode that no
// name has; "/b/z" and "/a-b" are one file.
FileTree untidy() {
  FileTree tree;
  tree.inodes = {inode_of(InodeKind::kRegular, 10),   inode_of(InodeKind::kDirectory, 11),
                 inode_of(InodeKind::kRegular, 12),   inode_of(InodeKind::kDirectory, 13),
                 inode_of(InodeKind::kDirectory, 14), inode_of(InodeKind::kSymlink, 15),
                 inode_of(InodeKind::kFifo, 16)};
  tree.names = {{0, 1, ""},    {0, 3, "b"}, {1, 0, "z"}, {1, 5, "a"},
                {0, 0, "a-b"}, {0, 4, "a"}, {5, 6, "x"}};
  return tree;
}

TEST(FileTree, NamesPaths) {
  const FileTree tree = untidy();
  EXPECT_EQ(tree.path_of(0), "/");
  EXPECT_EQ(tree.path_of(4), "/a-b");
  EXPECT_EQ(tree.path_of(6), "/a/x");
}

TEST(FileTree, FindsWhatItNames) {
  for (const FileTree& tree : {untidy(), canonical(untidy())}) {
    for (uint32_t name = 0; name < tree.names.size(); ++name) {
      EXPECT_EQ(tree.find(tree.path_of(name)), name);
    }
    for (const char* path : {"", "a", "/c", "/a/", "//a", "/a/x/y", "/b/x", "/a//x"}) {
      EXPECT_EQ(tree.find(path), std::nullopt) << path;
    }
  }
  EXPECT_EQ(FileTree{}.find("/"), std::nullopt);
}

TEST(FileTree, CanonicalOrdersNamesDepthFirstAndByBytes) {
  const FileTree tree = canonical(untidy());
  std::vector<std::string> paths;
  for (uint32_t name = 0; name < tree.names.size(); ++name) paths.push_back(tree.path_of(name));
  // '-' sorts before '/': the children of "a" come with it all the same.
  EXPECT_EQ(paths, (std::vector<std::string>{"/", "/a", "/a/x", "/a-b", "/b", "/b/a", "/b/z"}));
}

TEST(FileTree, CanonicalNumbersInodesByTheirFirstNameAndDropsTheNameless) {
  const FileTree tree = canonical(untidy());
  std::vector<uint32_t> uids;
  for (const TreeInode& inode : tree.inodes) uids.push_back(inode.uid);
  EXPECT_EQ(uids, (std::vector<uint32_t>{11, 14, 16, 10, 13, 15}));
  EXPECT_EQ(tree.names[3].inode, tree.names[6].inode);
}

TEST(FileTree, CanonicalIsStable) {
  const FileTree tree = canonical(untidy());
  EXPECT_EQ(canonical(tree), tree);
  EXPECT_EQ(canonical(FileTree{}), FileTree{});
}

TEST(FileTree, CanonicalManagesADeepTree) {
  FileTree tree;
  tree.inodes = {inode_of(InodeKind::kDirectory, 0)};
  tree.names = {{0, 0, ""}};
  for (uint32_t i = 0; i < 20'000; ++i) {
    tree.inodes.push_back(inode_of(InodeKind::kDirectory, i));
    tree.names.push_back({i, i + 1, "d"});
  }
  EXPECT_EQ(canonical(tree), tree);
}

}  // namespace
}  // namespace forerun::image
