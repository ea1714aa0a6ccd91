#include "image/tree_merge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/compose_fixture.h"

namespace forerun::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// A base and two components that were each built on it.
struct Components {
  ComponentFixture base, first, second;

  Components() {
    base.directory("/etc");
    base.file("/etc/hosts", "localhost");
    base.file("/etc/motd", "hello");
    base.directory("/usr", 0755);
    first.directory("/etc");
    second.directory("/etc");
  }

  Result<MergedTree> merge(const MergeOptions& options = {}) {
    trees = {base.tree(), first.tree(), second.tree()};
    inputs.clear();
    for (size_t i = 0; i < trees.size(); ++i) {
      inputs.push_back({&trees[i], std::string(1, static_cast<char>('a' + i)), i == 0, {}, ids[i]});
    }
    return merge_trees(inputs, options);
  }

  std::vector<FileTree> trees;
  std::vector<MergeInput> inputs;
  std::vector<IdMap> ids = std::vector<IdMap>(3);
};

// Returns "path component" of all names but the root.
std::vector<std::string> listing(const MergedTree& tree) {
  std::vector<std::string> lines;
  for (uint32_t i = 1; i < tree.names.size(); ++i) {
    const uint32_t component = tree.inodes[tree.names[i].inode].component;
    lines.push_back(tree.path_of(i) + " " +
                    (component == kGeneratedComponent
                         ? std::string("generated")
                         : std::string(1, static_cast<char>('a' + component))));
  }
  return lines;
}

const MergedInode& at(const MergedTree& tree, std::string_view path) {
  for (uint32_t i = 0; i < tree.names.size(); ++i) {
    if (tree.path_of(i) == path) return tree.inodes[tree.names[i].inode];
  }
  ADD_FAILURE() << path << " is not there";
  return tree.inodes[0];
}

TEST(TreeMerge, WhatLiesInADirectoryOverALinkGoesWhereItLeads) {
  Components c;
  c.base.directory("/usr/lib");
  c.base.file("/usr/lib/libc.so", "c");
  c.base.symlink("/lib", "usr/lib");
  c.base.symlink("/lib64", "/lib/");
  c.first.directory("/lib", 0700);
  c.first.directory("/lib/systemd").gives_way = true;
  c.first.file("/lib/systemd/a", "a");
  c.first.directory("/lib64");
  c.first.file("/lib64/b", "b");
  c.first.hard_link("/lib64/b2", "/lib/systemd/a");
  c.second.directory("/usr");
  c.second.directory("/usr/lib");
  c.second.file("/usr/lib/both", "same");
  c.second.directory("/lib");
  c.second.file("/lib/both", "same");
  const auto tree = c.merge();
  ASSERT_TRUE(tree) << tree.error().message;
  EXPECT_THAT(tree->conflicts, IsEmpty());
  EXPECT_THAT(listing(*tree),
              ElementsAre("/etc c", "/etc/hosts a", "/etc/motd a", "/lib a", "/lib64 a", "/usr c",
                          "/usr/lib c", "/usr/lib/b b", "/usr/lib/b2 b", "/usr/lib/both c",
                          "/usr/lib/libc.so a", "/usr/lib/systemd b", "/usr/lib/systemd/a b"));
  EXPECT_EQ(at(*tree, "/lib").source->kind, InodeKind::kSymlink);
  EXPECT_EQ(at(*tree, "/usr/lib/b2").link_count, 2u);
  EXPECT_EQ(at(*tree, "/usr/lib/systemd/a").source->content, sha256(as_bytes("a")));
}

TEST(TreeMerge, LinksLeadThroughLinksAndUp) {
  Components c;
  c.base.directory("/var");
  c.base.directory("/data");
  c.base.directory("/data/deep");
  c.base.symlink("/var/spool", "../srv/./deep");
  c.base.symlink("/srv", "/var/../data");
  c.first.directory("/var");
  c.first.directory("/var/spool");
  c.first.file("/var/spool/x", "x");
  const auto tree = c.merge();
  ASSERT_TRUE(tree) << tree.error().message;
  EXPECT_EQ(at(*tree, "/data/deep/x").component, 1u);
  EXPECT_EQ(at(*tree, "/var/spool").source->kind, InodeKind::kSymlink);
}

TEST(TreeMerge, BothPlacesOfOneComponentMustAgree) {
  Components c;
  c.base.directory("/usr/lib");
  c.base.symlink("/lib", "usr/lib");
  c.first.directory("/lib");
  c.first.file("/lib/a", "1");
  c.first.directory("/usr");
  c.first.directory("/usr/lib");
  c.first.file("/usr/lib/a", "2");
  EXPECT_THAT(c.merge().error().message,
              HasSubstr("component b: /lib is a link to /usr/lib on this disk, and it has "
                        "/usr/lib/a in both, not equal"));
}

TEST(TreeMerge, LinksThatLeadToNoDirectoryAreReplacedOnlyByWhoSaysSo) {
  for (const char* target : {"nowhere", "/etc/motd", "odd", "../../..", "odd/below"}) {
    Components c;
    c.base.symlink("/odd", target);
    c.first.directory("/odd").gives_way = true;
    c.first.file("/odd/x", "x");
    auto tree = c.merge();
    ASSERT_TRUE(tree) << tree.error().message;
    ASSERT_THAT(tree->conflicts, SizeIs(1));
    EXPECT_EQ(tree->conflicts[0].path, "/odd");
    EXPECT_THAT(describe(tree->conflicts, c.inputs), HasSubstr("/odd of 'a' and 'b'"));
    Components says;
    says.base.symlink("/odd", target);
    says.first.directory("/odd", 0700);
    tree = says.merge();
    ASSERT_TRUE(tree) << tree.error().message;
    EXPECT_THAT(tree->conflicts, IsEmpty());
    EXPECT_EQ(at(*tree, "/odd").source->kind, InodeKind::kDirectory);
  }
}

TEST(TreeMerge, OpaqueDirectoriesReplaceLinks) {
  Components c;
  c.base.symlink("/lib", "usr");
  c.first.directory("/lib").is_opaque = true;
  const auto tree = c.merge();
  ASSERT_TRUE(tree) << tree.error().message;
  EXPECT_EQ(at(*tree, "/lib").source->kind, InodeKind::kDirectory);
}

TEST(TreeMerge, DirectoriesThatGiveWaySayNothingWhereOthersDo) {
  Components c;
  c.base.directory("/var", 0711).uid = 7;
  c.first.directory("/var", 0755).gives_way = true;
  c.first.directory("/srv", 0750).gives_way = true;
  c.second.directory("/srv", 0700).gives_way = true;
  c.second.directory("/opt", 0701).gives_way = true;
  auto tree = c.merge();
  ASSERT_TRUE(tree) << tree.error().message;
  EXPECT_EQ(at(*tree, "/var").source->mode, 0711);
  EXPECT_EQ(at(*tree, "/var").uid, 7u);
  EXPECT_EQ(at(*tree, "/srv").source->mode, 0750);
  EXPECT_EQ(at(*tree, "/opt").source->mode, 0701);
  // One that says so counts, wherever it comes.
  c.first.directory("/run", 0755).gives_way = true;
  c.second.directory("/run", 0770);
  c.base.directory("/run", 0700).gives_way = true;
  tree = c.merge();
  ASSERT_TRUE(tree) << tree.error().message;
  EXPECT_EQ(at(*tree, "/run").source->mode, 0770);
}

TEST(TreeMerge, UnitesDirectoriesInOrder) {
  Components parts;
  parts.first.file("/etc/a.conf", "a");
  parts.second.file("/etc/z.conf", "z");
  parts.second.directory("/var");

  const auto tree = parts.merge();

  ASSERT_TRUE(tree.has_value());
  EXPECT_THAT(tree->conflicts, IsEmpty());
  EXPECT_THAT(listing(*tree), ElementsAre("/etc c", "/etc/a.conf b", "/etc/hosts a", "/etc/motd a",
                                          "/etc/z.conf c", "/usr a", "/var c"));
}

TEST(TreeMerge, TakesALaterDirectorysAttributes) {
  Components parts;
  parts.second.directory("/usr", 0700).mtime_s = 5;

  const auto tree = parts.merge();

  EXPECT_EQ(at(*tree, "/usr").source->mode, 0700);
  EXPECT_EQ(at(*tree, "/usr").source->mtime_s, 5);
}

TEST(TreeMerge, ReplacesAndErasesWhatTheBaseHas) {
  Components parts;
  parts.first.file("/etc/hosts", "other");
  parts.second.whiteout("/etc/motd");

  const auto tree = parts.merge();

  EXPECT_THAT(tree->conflicts, IsEmpty());
  EXPECT_THAT(listing(*tree), ElementsAre("/etc c", "/etc/hosts b", "/usr a"));
  EXPECT_EQ(tree->overridden, 1u);
  EXPECT_EQ(tree->erased, 1u);
}

TEST(TreeMerge, ReplacesADirectoryByAFileAndBack) {
  Components parts;
  parts.base.file("/usr/x", "x");
  parts.first.file("/usr", "a file now");
  parts.second.directory("/etc/hosts");

  const auto tree = parts.merge();

  EXPECT_THAT(tree->conflicts, IsEmpty());
  EXPECT_THAT(listing(*tree), ElementsAre("/etc c", "/etc/hosts c", "/etc/motd a", "/usr b"));
}

TEST(TreeMerge, ReportsSiblingsThatDifferWithBothSides) {
  Components parts;
  parts.first.file("/etc/hosts", "one");
  parts.second.file("/etc/hosts", "two");
  parts.first.file("/etc/new", "file");
  parts.second.directory("/etc/new");
  parts.first.whiteout("/etc/motd");
  parts.second.file("/etc/motd", "changed");

  const auto tree = parts.merge();

  ASSERT_THAT(tree->conflicts, SizeIs(3));
  EXPECT_EQ(tree->conflicts[0].path, "/etc/hosts");
  EXPECT_EQ(tree->conflicts[1].reason, "a removal and a file");
  EXPECT_EQ(tree->conflicts[2].reason, "a file and a directory");
  EXPECT_THAT(describe(tree->conflicts, parts.inputs),
              HasSubstr("3 paths: /etc/hosts of 'b' and 'c' (a file each, not equal)"));
}

TEST(TreeMerge, TakesEqualEntriesOfSiblingsAsOne) {
  Components parts;
  parts.first.file("/etc/same", "x").mtime_s = 1;
  parts.second.file("/etc/same", "x").mtime_s = 2;
  parts.first.symlink("/etc/link", "same");
  parts.second.symlink("/etc/link", "same");
  parts.first.whiteout("/etc/motd");
  parts.second.whiteout("/etc/motd");

  const auto tree = parts.merge();

  EXPECT_THAT(tree->conflicts, IsEmpty());
  EXPECT_EQ(at(*tree, "/etc/same").source->mtime_s, 2);
}

TEST(TreeMerge, NamesEqualFilesWithOtherOwners) {
  Components parts;
  parts.first.file("/etc/same", "x").uid = 1;
  parts.second.file("/etc/same", "x").uid = 2;

  const auto tree = parts.merge();

  ASSERT_THAT(tree->conflicts, SizeIs(1));
  EXPECT_THAT(tree->conflicts[0].reason, HasSubstr("equal files with different owners"));
}

TEST(TreeMerge, LetsASideThatOnlyRepeatsTheBaseGiveWay) {
  Components parts;
  parts.first.file("/etc/hosts", "localhost");
  parts.second.file("/etc/hosts", "changed");
  parts.first.file("/etc/motd", "changed");
  parts.second.file("/etc/motd", "hello");

  const auto tree = parts.merge();

  EXPECT_THAT(tree->conflicts, IsEmpty());
  EXPECT_EQ(at(*tree, "/etc/hosts").component, 2u);
  EXPECT_EQ(at(*tree, "/etc/motd").component, 1u);
}

TEST(TreeMerge, LetsTheLastWinWhereItIsRanked) {
  Components parts;
  parts.first.file("/etc/hosts", "one");
  parts.second.file("/etc/hosts", "two");
  parts.first.directory("/var");
  parts.second.directory("/var");
  parts.first.file("/var/x", "one");
  parts.second.file("/var/x", "two");
  MergeOptions options;
  options.last_wins = {"/etc/hosts", "/var/"};

  const auto tree = parts.merge(options);

  EXPECT_THAT(tree->conflicts, IsEmpty());
  EXPECT_EQ(at(*tree, "/etc/hosts").component, 2u);
  EXPECT_EQ(at(*tree, "/var/x").component, 2u);
}

TEST(TreeMerge, HidesByAnOpaqueDirectoryOnlyWhatItWasBuiltOn) {
  Components parts;
  parts.first.file("/etc/from_first", "1");
  parts.first.directory("/var");
  parts.first.file("/var/kept", "1");
  ComponentFixture opaque;
  opaque.directory("/etc").is_opaque = true;
  opaque.file("/etc/from_second", "2");
  opaque.directory("/var").is_opaque = true;
  parts.second = opaque;

  const auto tree = parts.merge();

  EXPECT_THAT(tree->conflicts, IsEmpty());
  EXPECT_THAT(listing(*tree), ElementsAre("/etc c", "/etc/from_first b", "/etc/from_second c",
                                          "/usr a", "/var c", "/var/kept b"));
}

TEST(TreeMerge, LetsALayerReplaceTheLayersItWasBuiltOn) {
  Components parts;
  parts.first.file("/etc/hosts", "one");
  parts.second.file("/etc/hosts", "two");
  parts.first.file("/etc/x", "x");
  parts.second.whiteout("/etc/x");
  ASSERT_TRUE(parts.merge().has_value());
  parts.inputs[2].built_on = {1};

  const auto tree = merge_trees(parts.inputs, {});

  EXPECT_THAT(tree->conflicts, IsEmpty());
  EXPECT_THAT(listing(*tree), ElementsAre("/etc c", "/etc/hosts c", "/etc/motd a", "/usr a"));
}

TEST(TreeMerge, KeepsHardLinksAndCountsTheNamesThatAreLeft) {
  Components parts;
  parts.base.file("/usr/a", "linked");
  parts.base.hard_link("/usr/b", "/usr/a");
  parts.base.hard_link("/usr/c", "/usr/a");
  parts.first.directory("/usr");
  parts.first.whiteout("/usr/b");

  const auto tree = parts.merge();

  EXPECT_EQ(&at(*tree, "/usr/a"), &at(*tree, "/usr/c"));
  EXPECT_EQ(at(*tree, "/usr/a").link_count, 2u);
}

TEST(TreeMerge, MapsOwnersAlsoInAccessLists) {
  Components parts;
  const auto acl =
      as_bytes(std::string_view("\2\0\0\0\2\0\7\0\x65\0\0\0\x20\0\7\0\xff\xff\xff\xff", 20));
  TreeInode& file = parts.first.file("/etc/redis", "x");
  file.uid = 101;
  file.gid = 102;
  file.xattrs = {{"system.posix_acl_access", Buffer(acl.begin(), acl.end())}};
  parts.ids[1] = {[](uint32_t id) { return id + 100; }, [](uint32_t id) { return id + 200; }};

  const auto tree = parts.merge();

  const MergedInode& merged = at(*tree, "/etc/redis");
  EXPECT_EQ(merged.uid, 201u);
  EXPECT_EQ(merged.gid, 302u);
  EXPECT_EQ(merged.source->xattrs[0].value[8], std::byte{201});
  EXPECT_EQ(merged.source->xattrs[0].value[16], std::byte{0xff});
  EXPECT_EQ(at(*tree, "/etc/hosts").uid, 0u);
}

GeneratedFile generated(std::string path, std::string_view text) {
  GeneratedFile file;
  file.path = std::move(path);
  file.inode.mode = 0640;
  file.content.assign(as_bytes(text).begin(), as_bytes(text).end());
  return file;
}

TEST(TreeMerge, PutsGeneratedFilesOnTopAndEndsTheirConflicts) {
  Components parts;
  parts.first.file("/etc/hosts", "one");
  parts.second.file("/etc/hosts", "two");
  MergeOptions options;
  options.generated = {generated("/etc/hosts", "merged"), generated("/etc/net/a/b", "new"),
                       generated("/etc/net-x", "sorted")};
  GeneratedFile gone = generated("/etc/motd", "");
  gone.inode.kind = InodeKind::kWhiteout;
  options.generated.push_back(gone);

  const auto tree = parts.merge(options);

  ASSERT_TRUE(tree.has_value());
  EXPECT_THAT(tree->conflicts, IsEmpty());
  EXPECT_THAT(listing(*tree), ElementsAre("/etc c", "/etc/hosts generated", "/etc/net generated",
                                          "/etc/net/a generated", "/etc/net/a/b generated",
                                          "/etc/net-x generated", "/usr a"));
  EXPECT_EQ(as_text(*at(*tree, "/etc/hosts").content), "merged");
  EXPECT_EQ(at(*tree, "/etc/hosts").source->size, 6u);
}

TEST(TreeMerge, RefusesGeneratedPathsThatLeadElsewhere) {
  for (const char* path : {"etc/x", "/", "/etc/../x", "/etc//x", "/etc/x/", ""}) {
    Components parts;
    MergeOptions options;
    options.generated = {generated(path, "x")};
    EXPECT_FALSE(parts.merge(options).has_value()) << path;
  }
  Components parts;
  parts.base.symlink("/lib", "usr");
  MergeOptions options;
  options.generated = {generated("/lib/x", "x")};
  EXPECT_THAT(parts.merge(options).error().message, HasSubstr("/lib, which is a symbolic link"));
  options.generated = {generated("/a", "x"), generated("/a", "x")};
  EXPECT_THAT(parts.merge(options).error().message, HasSubstr("twice"));
  options.generated = {generated("/a", "x"), generated("/a/b", "x")};
  EXPECT_THAT(parts.merge(options).error().message, HasSubstr("no directory"));
}

TEST(TreeMerge, RefusesGeneratedFilesThatNoDiskCanHold) {
  Components parts;
  MergeOptions options;
  options.generated = {generated("/x", "")};
  TreeInode& inode = options.generated[0].inode;
  inode.kind = InodeKind::kSymlink;
  EXPECT_FALSE(parts.merge(options).has_value());
  inode.target = std::string(4096, 'x');
  EXPECT_FALSE(parts.merge(options).has_value());
  inode.target = "x";
  EXPECT_TRUE(parts.merge(options).has_value());
  inode.mode = 010000;
  EXPECT_FALSE(parts.merge(options).has_value());
}

TEST(TreeMerge, RefusesNothingAtAll) { EXPECT_FALSE(merge_trees({}, {}).has_value()); }

}  // namespace
}  // namespace forerun::image
