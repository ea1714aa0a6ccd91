#include "image/tree_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/tree_limits.h"

namespace forerun::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TreeInode inode_of(InodeKind kind, uint32_t uid = 0) {
  TreeInode inode;
  inode.kind = kind;
  inode.mode = 0700;
  inode.uid = uid;
  if (kind == InodeKind::kSymlink) inode.target = "/etc";
  return inode;
}

std::vector<std::string> paths_of(const FileTree& tree) {
  std::vector<std::string> paths;
  for (uint32_t i = 0; i < tree.names.size(); ++i) paths.push_back(tree.path_of(i));
  return paths;
}

const TreeInode& at(const FileTree& tree, std::string_view path) {
  return tree.inodes[tree.names[tree.find(path).value()].inode];
}

#define EXPECT_REFUSED(status, said)                         \
  do {                                                       \
    const Status refused = (status);                         \
    ASSERT_FALSE(refused);                                   \
    EXPECT_EQ(refused.error().code, ErrorCode::kInvalid);    \
    EXPECT_THAT(refused.error().message, HasSubstr((said))); \
  } while (false)

TEST(TreeBuilder, MakesTheDirectoriesThatNoEntryNames) {
  TreeBuilder builder;
  ASSERT_TRUE(builder.add("usr/bin/env", inode_of(InodeKind::kRegular)));
  ASSERT_TRUE(builder.add("etc", inode_of(InodeKind::kDirectory, 7)));
  const FileTree tree = builder.take();
  EXPECT_THAT(paths_of(tree), ElementsAre("/", "/etc", "/usr", "/usr/bin", "/usr/bin/env"));
  EXPECT_EQ(at(tree, "/usr/bin").mode, 0755);
  EXPECT_EQ(at(tree, "/etc").mode, 0700);
}

TEST(TreeBuilder, LetsTheLastEntryOfANameWin) {
  TreeBuilder builder;
  ASSERT_TRUE(builder.add("a", inode_of(InodeKind::kRegular, 1)));
  ASSERT_TRUE(builder.add("a", inode_of(InodeKind::kSymlink, 2)));
  ASSERT_TRUE(builder.add("d/x", inode_of(InodeKind::kRegular, 3)));
  ASSERT_TRUE(builder.add("d", inode_of(InodeKind::kDirectory, 4)));
  ASSERT_TRUE(builder.add("", inode_of(InodeKind::kDirectory, 5)));
  const FileTree tree = builder.take();
  EXPECT_THAT(paths_of(tree), ElementsAre("/", "/a", "/d", "/d/x"));
  EXPECT_EQ(at(tree, "/").uid, 5u);
  EXPECT_EQ(at(tree, "/a").kind, InodeKind::kSymlink);
  EXPECT_EQ(at(tree, "/d").uid, 4u);
  EXPECT_EQ(tree.inodes.size(), 4u);  // the first "a" is gone
}

TEST(TreeBuilder, RefusesPathsThatAreNone) {
  for (const char* path : {"/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", "a/../b"}) {
    TreeBuilder builder;
    EXPECT_REFUSED(builder.add(path, inode_of(InodeKind::kRegular)), path);
  }
  TreeBuilder builder;
  EXPECT_REFUSED(builder.add(std::string(256, 'x'), inode_of(InodeKind::kRegular)), "no path");
  EXPECT_REFUSED(builder.add(std::string_view("a\0b", 3), inode_of(InodeKind::kRegular)),
                 "no path");
  std::string deep = "d";
  while (deep.size() < 2 * kTreeDepthMax - 1) deep += "/d";
  EXPECT_TRUE(builder.add(deep, inode_of(InodeKind::kRegular)));
  EXPECT_REFUSED(builder.add("a/" + deep, inode_of(InodeKind::kRegular)), "too deep");
  std::string longest = std::string(255, 'x');
  while (longest.size() < kPathBytesMax) longest += "/" + std::string(255, 'x');
  EXPECT_REFUSED(builder.add(longest, inode_of(InodeKind::kRegular)), "too long a path");
}

TEST(TreeBuilder, RefusesToPassThroughWhatIsNoDirectory) {
  TreeBuilder builder;
  ASSERT_TRUE(builder.add("link", inode_of(InodeKind::kSymlink)));
  ASSERT_TRUE(builder.add("file", inode_of(InodeKind::kRegular)));
  EXPECT_REFUSED(builder.add("link/passwd", inode_of(InodeKind::kRegular)), "through 'link'");
  EXPECT_REFUSED(builder.add("file/a/b", inode_of(InodeKind::kRegular)), "through 'file'");
  EXPECT_REFUSED(builder.add_link("link/x", "file"), "through 'link'");
  EXPECT_REFUSED(builder.add_link("x", "link/passwd"), "not there");
  EXPECT_REFUSED(builder.set_opaque("link"), "no directory");
  EXPECT_REFUSED(builder.add_whiteout("link/x"), "through 'link'");
}

TEST(TreeBuilder, RefusesToTurnADirectoryIntoSomethingElseOrBack) {
  TreeBuilder builder;
  ASSERT_TRUE(builder.add("d/x", inode_of(InodeKind::kRegular)));
  EXPECT_REFUSED(builder.add("d", inode_of(InodeKind::kSymlink)), "is a directory already");
  EXPECT_REFUSED(builder.add("d/x", inode_of(InodeKind::kDirectory)), "is something else");
  EXPECT_REFUSED(builder.add("", inode_of(InodeKind::kRegular)), "is a directory already");
  EXPECT_REFUSED(builder.add_link("d", "d/x"), "is a directory already");
}

TEST(TreeBuilder, LinksOnlyToFilesThatAreThere) {
  TreeBuilder builder;
  ASSERT_TRUE(builder.add("d/x", inode_of(InodeKind::kRegular, 3)));
  ASSERT_TRUE(builder.add_whiteout("gone"));
  EXPECT_REFUSED(builder.add_link("y", "d/later"), "not there");
  EXPECT_REFUSED(builder.add_link("y", "../etc/passwd"), "not there");
  EXPECT_REFUSED(builder.add_link("y", ""), "not there");
  EXPECT_REFUSED(builder.add_link("y", "d"), "no file");
  EXPECT_REFUSED(builder.add_link("y", "gone"), "no file");
  ASSERT_TRUE(builder.add_link("y", "d/x"));
  // A name that is replaced leaves the file to its other names.
  ASSERT_TRUE(builder.add("d/x", inode_of(InodeKind::kRegular, 4)));
  const FileTree tree = builder.take();
  EXPECT_EQ(at(tree, "/y").uid, 3u);
  EXPECT_EQ(at(tree, "/d/x").uid, 4u);
}

TEST(TreeBuilder, KeepsWhatItHasBesideWhiteouts) {
  TreeBuilder builder;
  ASSERT_TRUE(builder.add("kept", inode_of(InodeKind::kRegular)));
  ASSERT_TRUE(builder.add_whiteout("kept"));
  ASSERT_TRUE(builder.add("old/x", inode_of(InodeKind::kRegular)));
  ASSERT_TRUE(builder.add_whiteout("old"));
  ASSERT_TRUE(builder.add_whiteout("new"));
  ASSERT_TRUE(builder.add("new", inode_of(InodeKind::kDirectory)));
  ASSERT_TRUE(builder.add_whiteout("implied"));
  ASSERT_TRUE(builder.add("implied/x", inode_of(InodeKind::kRegular)));
  ASSERT_TRUE(builder.add_whiteout("gone"));
  ASSERT_TRUE(builder.set_opaque("hidden"));
  ASSERT_TRUE(builder.add("hidden", inode_of(InodeKind::kDirectory)));
  EXPECT_FALSE(builder.add_whiteout(""));
  const FileTree tree = builder.take();
  EXPECT_EQ(at(tree, "/kept").kind, InodeKind::kRegular);
  EXPECT_EQ(at(tree, "/gone").kind, InodeKind::kWhiteout);
  for (const char* path : {"/old", "/new", "/implied", "/hidden"}) {
    EXPECT_EQ(at(tree, path).kind, InodeKind::kDirectory) << path;
    EXPECT_TRUE(at(tree, path).is_opaque) << path;
  }
}

TEST(TreeBuilder, RefusesAttributesThatNoIndexCouldHold) {
  auto refused = [](auto spoil) {
    TreeInode inode = inode_of(InodeKind::kSymlink);
    spoil(inode);
    return !TreeBuilder().add("x", inode).has_value();
  };
  EXPECT_FALSE(refused([](TreeInode&) {}));
  EXPECT_TRUE(refused([](TreeInode& inode) { inode.mode = 010000; }));
  EXPECT_TRUE(refused([](TreeInode& inode) { inode.mtime_ns = 1'000'000'000; }));
  EXPECT_TRUE(refused([](TreeInode& inode) { inode.size = kFileSizeMax + 1; }));
  EXPECT_TRUE(refused([](TreeInode& inode) { inode.device_major = 4096; }));
  EXPECT_TRUE(refused([](TreeInode& inode) { inode.target = ""; }));
  EXPECT_TRUE(refused([](TreeInode& inode) { inode.target.assign(4096, 'x'); }));
  EXPECT_TRUE(refused([](TreeInode& inode) { inode.target.assign(1, '\0'); }));
  EXPECT_TRUE(refused([](TreeInode& inode) { inode.xattrs = {{"", {}}}; }));
  EXPECT_TRUE(refused([](TreeInode& inode) { inode.xattrs = {{"a", {}}, {"a", {}}}; }));
  EXPECT_TRUE(refused([](TreeInode& inode) { inode.xattrs = {{"a", Buffer(65'537)}}; }));
  EXPECT_TRUE(refused([](TreeInode& inode) { inode.xattrs.resize(kXattrsMax + 1); }));
}

}  // namespace
}  // namespace forerun::image
