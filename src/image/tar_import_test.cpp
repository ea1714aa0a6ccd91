#include "image/tar_import.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/component_fixture.h"
#include "image/tar_builder.h"

namespace forerun::image {
namespace {

using repository::MemoryStore;

Result<BuiltComponent> import(MemoryStore& store, std::string_view bytes, TarOptions tar = {},
                              BuildOptions options = build_options()) {
  MemoryFile scratch;
  FR_TRY(const auto builder, ComponentBuilder::create(store, scratch, std::move(options)));
  TarReader archive(stream_of(as_bytes(bytes)), tar);
  FR_CHECK(add_tar(archive, *builder));
  return builder->publish();
}

// A tree of `count` files in folders of ten; one in eight is large.
std::map<std::string, std::string> some_tree(size_t count) {
  std::map<std::string, std::string> files;
  Rng rng(11);
  for (size_t i = 0; i < count; ++i) {
    const size_t size = i % 8 == 7 ? rng.between(65'536, 150'000) : rng.between(0, 16'000);
    files[fmt::format("usr/lib{:02}/file{:03}", i / 10, i)] = random_text(size, rng.next());
  }
  return files;
}

TarBuilder archive_of(const std::map<std::string, std::string>& files) {
  TarBuilder archive;
  archive.directory("usr");
  for (const auto& [path, content] : files) archive.file(path, content);
  return archive.hard_link("linked", files.begin()->first).end();
}

TEST(TarImport, GivesEveryFileBackThroughItsChunks) {
  MemoryStore store;
  const auto files = some_tree(40);
  ASSERT_TRUE(import(store, archive_of(files).bytes()));
  const auto tag = fetch_component_tag(store, "part");
  ASSERT_TRUE(tag);
  const auto index = fetch_component_index(store, tag->index);
  ASSERT_TRUE(index) << index.error().message;
  for (const auto& [path, content] : files)
    EXPECT_EQ(*read_file(store, *index, "/" + path), content);
  EXPECT_EQ(*read_file(store, *index, "/linked"), files.begin()->second);
  EXPECT_EQ(index->tree.names.size(), index->tree.inodes.size() + 1);
}

TEST(TarImport, MakesTheSameComponentOfTheSameArchive) {
  MemoryStore one, two;
  const std::string bytes = archive_of(some_tree(30)).bytes();
  const auto first = import(one, bytes);
  const auto second = import(two, bytes);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->tag.index, second->tag.index);
  EXPECT_EQ(one.objects(), two.objects());
}

TEST(TarImport, SharesWhatTwoVersionsHaveInCommon) {
  MemoryStore store;
  auto files = some_tree(40);
  const auto first = import(store, archive_of(files).bytes(), {}, build_options("one"));
  files["usr/lib01/file012"] += "changed";   // a small one
  files["usr/lib02/file023"][70'000] = '!';  // a large one
  const auto second = import(store, archive_of(files).bytes(), {}, build_options("two"));
  ASSERT_TRUE(first && second);
  EXPECT_NE(first->tag.index, second->tag.index);
  const double cost = static_cast<double>(second->totals.chunks.stored_bytes) /
                      static_cast<double>(first->tag.stored_bytes);
  EXPECT_LT(cost, 0.3) << "the second version's share of the first's bytes";
  EXPECT_GT(cost, 0.0);
}

TEST(TarImport, ReadsLayersWithWhiteouts) {
  MemoryStore store;
  TarBuilder layer;
  layer.directory("etc")
      .file("etc/.wh.gone")
      .directory("opt")
      .file("opt/new", "n")
      .file("opt/.wh..wh..opq");
  const auto built = import(store, layer.end().bytes(), {.whiteouts = TarWhiteouts::kOci});
  ASSERT_TRUE(built) << built.error().message;
  const FileTree& tree = built->index.tree;
  EXPECT_EQ(tree.inodes[tree.names[*tree.find("/etc/gone")].inode].kind, InodeKind::kWhiteout);
  EXPECT_TRUE(tree.inodes[tree.names[*tree.find("/opt")].inode].is_opaque);
  EXPECT_TRUE(tree.find("/opt/new"));
}

struct Hostile {
  std::string_view what;
  std::string_view said;  // in the message; with the entry's name
  ErrorCode code;
  TarBuilder archive;
  TarOptions options = {};
};

constexpr ErrorCode kInvalid = ErrorCode::kInvalid;
constexpr ErrorCode kCorrupt = ErrorCode::kCorrupt;
constexpr ErrorCode kTooLarge = ErrorCode::kTooLarge;
constexpr ErrorCode kUnsupported = ErrorCode::kUnsupported;

// Each is refused with these words and publishes nothing.
void expect_refused(const std::vector<Hostile>& cases) {
  for (const Hostile& hostile : cases) {
    MemoryStore store;
    const auto built = import(store, hostile.archive.bytes(), hostile.options);
    ASSERT_FALSE(built) << hostile.what;
    EXPECT_EQ(built.error().code, hostile.code) << hostile.what << ": " << built.error().message;
    EXPECT_NE(built.error().message.find(hostile.said), std::string::npos)
        << hostile.what << ": " << built.error().message;
    EXPECT_FALSE(store.contains(component_tag_path("part"))) << hostile.what;
  }
}

TarBuilder tar() { return {}; }

TEST(HostileTar, PathsThatLeadElsewhere) {
  expect_refused({
      {"parent", "'../evil' leads out", kInvalid, tar().file("../evil").end()},
      {"parent within", "'a/../../evil' leads out", kInvalid, tar().file("a/../../evil").end()},
      {"parent that stays in", "'a/../b' leads out", kInvalid, tar().file("a/../b").end()},
      {"parent at the end", "'a/..' leads out", kInvalid, tar().directory("a/..").end()},
      {"absolute", "'/etc/passwd' is an absolute", kInvalid, tar().file("/etc/passwd").end()},
      {"absolute in PAX", "'/etc/x' is an absolute", kInvalid,
       tar().pax({{"path", "/etc/x"}}).file("ok").end()},
      {"parent in PAX", "'../x' leads out", kInvalid,
       tar().pax({{"path", "../x"}}).file("ok").end()},
      {"parent in a long name", "'../x' leads out", kInvalid,
       tar().add({.name = "L", .type = 'L', .content = std::string("../x\0", 5)}).file("ok").end()},
      {"parent in a sparse name", "'../x' leads out", kInvalid,
       tar().pax({{"GNU.sparse.name", "../x"}, {"GNU.sparse.size", "0"}}).file("ok").end()},
      {"parent in the prefix", "'../x' leads out", kInvalid,
       tar().file("x").spoil(TarBuilder::kPrefix, "..").end()},
      {"NUL in PAX", "holds a NUL", kInvalid,
       tar().pax({{"path", std::string("a\0b", 3)}}).file("ok").end()},
      {"no name", "'' has no name", kInvalid, tar().file("").end()},
      {"empty PAX name", "has no name", kInvalid, tar().pax({{"path", ""}}).file("ok").end()},
      {"the root as a file", "'.' is the root", kInvalid, tar().symlink(".", "/etc").end()},
      {"a name of 256 bytes", "too long", kInvalid,
       tar().pax({{"path", std::string(256, 'x')}}).file("ok").end()},
      {"a path of 4096 bytes", "too long", kInvalid,
       tar().pax({{"path", std::string(15 * 256 + 255, 'x')}}).file("ok").end()},
      {"600 folders deep", "too deep", kInvalid,
       [] {
         std::string path = "d";
         for (int i = 0; i < 600; ++i) path += "/d";
         return tar().pax({{"path", path}}).file("ok").end();
       }()},
      {"a file that ends with a slash", "ends with a slash", kInvalid,
       tar().file("f/", "content").end()},
      {"a link that ends with a slash", "ends with a slash", kInvalid,
       tar().symlink("f/", "x").end()},
  });
}

TEST(HostileTar, LinksThatLeadElsewhere) {
  expect_refused({
      {"a link as an ancestor", "'l/passwd' leads through 'l'", kInvalid,
       tar().symlink("l", "/etc").file("l/passwd").end()},
      {"a link as an ancestor of a folder", "'l/d' leads through 'l'", kInvalid,
       tar().symlink("l", "/etc").directory("l/d").end()},
      {"a link as an ancestor of a link", "'l/m' leads through 'l'", kInvalid,
       tar().symlink("l", ".").symlink("l/m", "/etc").end()},
      {"a file as an ancestor", "'f/x' leads through 'f'", kInvalid,
       tar().file("f").file("f/x").end()},
      {"a folder that becomes a link", "'d' is a directory already", kInvalid,
       tar().directory("d").symlink("d", "/etc").file("d/passwd").end()},
      {"an implied folder that becomes a link", "'d' is a directory already", kInvalid,
       tar().file("d/x").symlink("d", "/etc").end()},
      {"a link that becomes a folder", "'l' is something else already", kInvalid,
       tar().symlink("l", "/etc").directory("l").end()},
      {"a file over a folder", "'d' is a directory already", kInvalid,
       tar().directory("d").file("d").end()},
      {"a hard link over a folder", "'d' is a directory already", kInvalid,
       tar().file("f").directory("d").hard_link("d", "f").end()},
      {"a hard link out", "'h' is a hard link to '../../etc/shadow'", kInvalid,
       tar().hard_link("h", "../../etc/shadow").end()},
      {"an absolute hard link", "'h' is a hard link to '/etc/shadow'", kInvalid,
       tar().hard_link("h", "/etc/shadow").end()},
      {"a hard link to nothing", "'h' is a hard link to 'f', which is not there", kInvalid,
       tar().hard_link("h", "f").end()},
      {"a hard link to a later entry", "'h' is a hard link to 'f', which is not there", kInvalid,
       tar().hard_link("h", "f").file("f").end()},
      {"a hard link to a folder", "'h' is a hard link to 'd', which is no file", kInvalid,
       tar().directory("d").hard_link("h", "d").end()},
      {"a hard link to itself", "'h' is a hard link to 'h', which is not there", kInvalid,
       tar().hard_link("h", "h").end()},
      {"a hard link to the root", "'h' is a hard link to '.', which is the root", kInvalid,
       tar().hard_link("h", ".").end()},
      {"a hard link through a link", "which is not there", kInvalid,
       tar().symlink("l", "d").file("d/f").hard_link("h", "l/f").end()},
      {"a hard link without a target", "which has no name", kInvalid,
       tar().hard_link("h", "").end()},
      {"a hard link out by PAX", "leads out", kInvalid,
       tar().file("f").pax({{"linkpath", "../f"}}).hard_link("h", "f").end()},
      {"a hard link with content", "'h' has content", kInvalid,
       tar().file("f").add({.name = "h", .type = '1', .content = "x", .link = "f"}).end()},
      {"a link to nothing", "'l' is a symbolic link whose target is empty", kInvalid,
       tar().symlink("l", "").end()},
      {"a link with a NUL", "'l' is a symbolic link whose target", kInvalid,
       tar().pax({{"linkpath", std::string("a\0b", 3)}}).symlink("l", "x").end()},
      {"a link of 4096 bytes", "'l' is a symbolic link whose target", kInvalid,
       tar().pax({{"linkpath", std::string(4096, 'x')}}).symlink("l", "x").end()},
      {"a link with content", "'l' has content", kInvalid,
       tar().add({.name = "l", .type = '2', .content = "x", .link = "y"}).end()},
      {"a folder with content", "'d' has content", kInvalid,
       tar().add({.name = "d", .type = '5', .content = "x"}).end()},
      {"a fifo with content", "'p' has content", kInvalid,
       tar().add({.name = "p", .type = '6', .content = "x"}).end()},
  });
}

TEST(HostileTar, SizesAndNumbersThatAreNone) {
  const std::string negative = std::string(12, '\xff');
  const std::string huge = std::string("\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12);
  const std::string wide = std::string("\x80\0\1\0\0\0\0\0\0\0\0\0", 12);
  // The header that spoil() changes is the file's; its content stays.
  auto with = [](size_t at, const std::string& bytes) {
    TarBuilder archive;
    archive.header({.name = "f"}, 1);
    return archive.spoil(at, bytes).raw("x").pad().end();
  };
  expect_refused({
      {"a negative size", "'f': its size -1 is out of range", kCorrupt,
       with(TarBuilder::kSize, negative)},
      {"a huge size", "'f': its size", kCorrupt, with(TarBuilder::kSize, huge)},
      {"a size of 65 bits", "'f': its size is a number out of range", kCorrupt,
       with(TarBuilder::kSize, wide)},
      {"a size of letters", "'f': its size is no octal", kCorrupt,
       with(TarBuilder::kSize, "0000000000z")},
      {"a size with digits after a blank", "'f': its size is no octal", kCorrupt,
       with(TarBuilder::kSize, "1 000000000")},
      {"a size with a sign", "'f': its size is no octal", kCorrupt,
       with(TarBuilder::kSize, "-0000000001")},
      {"a size of decimal digits", "'f': its size is no octal", kCorrupt,
       with(TarBuilder::kSize, "00000000009")},
      {"no size", "'f': its size is missing", kCorrupt,
       with(TarBuilder::kSize, std::string(12, '\0'))},
      {"a blank size", "'f': its size is missing", kCorrupt,
       with(TarBuilder::kSize, std::string(12, ' '))},
      {"a mode of letters", "'f': its mode", kCorrupt, with(TarBuilder::kMode, "rwxrwxr")},
      {"a negative owner", "'f': its uid", kCorrupt,
       with(TarBuilder::kUid, std::string(8, '\xff'))},
      {"a time out of range", "'f': its time", kCorrupt, with(TarBuilder::kMtime, huge)},
      {"a device out of range", "'f': its device", kCorrupt,
       tar().add({.name = "f", .type = '3', .major = 077777}).end()},
      {"a wrong checksum", "checksum is wrong", kCorrupt, tar().raw(std::string(512, 'x')).end()},
      {"a checksum of letters", "checksum is wrong", kCorrupt,
       [] {
         std::string bytes = tar().file("f").end().bytes();
         bytes.replace(TarBuilder::kChecksum, 6, "abcdef");
         return tar().raw(bytes);
       }()},
  });
}

TEST(HostileTar, PaxHeadersThatLie) {
  auto pax = [](std::string body) {
    return tar()
        .add({.name = "PaxHeaders/f", .type = 'x', .content = std::move(body)})
        .file("f")
        .end();
  };
  auto records = [](std::vector<std::pair<std::string, std::string>> list) {
    return tar().pax(list).file("f", "x").end();
  };
  expect_refused({
      {"no length", "has no length", kCorrupt, pax("path=x\n")},
      {"a length past the end", "length is wrong", kCorrupt, pax("99 path=x\n")},
      {"a length too short", "length is wrong", kCorrupt, pax("3 path=x\n")},
      {"a length of nothing", "length is wrong", kCorrupt, pax("0 path=x\n")},
      {"a negative length", "length is wrong", kCorrupt, pax("-9 path=x\n")},
      {"an overflowing length", "has no length", kCorrupt, pax("18446744073709551626 path=x\n")},
      {"no line end", "length is wrong", kCorrupt, pax("10 path=xyz")},
      {"no key", "has no key", kCorrupt, pax("5 =x\n")},
      {"no equals sign", "has no key", kCorrupt, pax("7 path\n")},
      {"a size of letters", "'size' is no decimal", kCorrupt, records({{"size", "x"}})},
      {"a negative size", "'size' is no decimal", kCorrupt, records({{"size", "-1"}})},
      {"an overflowing size", "'size' is no decimal", kCorrupt,
       records({{"size", "99999999999999999999"}})},
      {"two sizes", "'f' has two sizes, 1 and 513", kInvalid, records({{"size", "513"}})},
      {"a size that hides entries", "'f' has two sizes, 0 and 1024", kInvalid,
       tar().pax({{"size", "1024"}}).file("f").file("hidden", "x").end()},
      {"a huge size", "'f' is too large", kInvalid,
       tar().pax({{"size", "99999999999999999"}}).file("f").end()},
      {"an owner of letters", "'uid' is no decimal", kCorrupt, records({{"uid", "root"}})},
      {"an owner out of range", "'gid' is an owner out of range", kCorrupt,
       records({{"gid", "4294967295"}})},
      {"a time that is none", "'mtime' is a time", kCorrupt, records({{"mtime", "1.x"}})},
      {"a time out of range", "'mtime' is a time", kCorrupt,
       records({{"mtime", "99999999999999999"}})},
      {"an attribute without a name", "extended attribute of a bad name", kInvalid,
       records({{"SCHILY.xattr.", "x"}})},
      {"an attribute of 64 KiB and more", "too large a value", kInvalid,
       records({{"SCHILY.xattr.user.x", std::string(65'537, 'x')}})},
      {"an attribute twice", "attribute twice", kInvalid,
       records({{"SCHILY.xattr.user.x", "1"}, {"SCHILY.xattr.user.x", "2"}})},
      {"too many attributes", "too many extended", kInvalid,
       [&] {
         std::vector<std::pair<std::string, std::string>> list;
         for (int i = 0; i < 300; ++i)
           list.emplace_back(fmt::format("SCHILY.xattr.user.{}", i), "");
         return records(list);
       }()},
  });
}

TEST(HostileTar, HeadersOfHeadersThatDisagree) {
  expect_refused({
      {"a global path", "global PAX header that changes", kUnsupported,
       tar().pax({{"path", "x"}}, 'g').file("f").end()},
      {"a global size", "global PAX header that changes", kUnsupported,
       tar().pax({{"size", "0"}}, 'g').file("f").end()},
      {"two PAX headers", "two PAX headers", kCorrupt,
       tar().pax({{"path", "a"}}).pax({{"path", "b"}}).file("f").end()},
      {"two long names", "two long names", kCorrupt,
       tar()
           .add({.name = "L", .type = 'L', .content = std::string("a\0", 2)})
           .add({.name = "L", .type = 'L', .content = std::string("b\0", 2)})
           .file("f")
           .end()},
      {"a long name of two kinds", "long name of two kinds", kCorrupt,
       tar()
           .pax({{"path", "a"}})
           .add({.name = "L", .type = 'L', .content = std::string("b\0", 2)})
           .file("f")
           .end()},
      {"a long name without an end", "does not end", kCorrupt,
       tar().add({.name = "L", .type = 'L', .content = "name"}).file("f").end()},
      {"a long name with more behind it", "does not end", kCorrupt,
       tar().add({.name = "L", .type = 'L', .content = std::string("a\0b\0", 4)}).file("f").end()},
      {"a PAX header of nothing", "ends where an entry should follow", kCorrupt,
       tar().pax({{"path", "a"}}).end()},
      {"a PAX header of 2 MiB", "extended header of", kTooLarge,
       tar().pax({{"comment", std::string(2 * kMiB, 'x')}}).file("f").end()},
      {"a PAX header that claims 8 GiB", "extended header of", kTooLarge,
       tar().header({.name = "p", .type = 'x'}, 8 * kGiB - 1).end()},
  });
}

TEST(HostileTar, SparseFilesThatLie) {
  auto map = [](std::string runs, std::string size, std::string content) {
    return tar()
        .pax({{"GNU.sparse.size", size}, {"GNU.sparse.map", runs}})
        .file("f", content)
        .end();
  };
  auto ones = [](size_t lines) {
    std::string text;
    for (size_t i = 0; i < lines; ++i) text += "1\n";
    return text;
  };
  auto map_1_0 = [](std::string text, std::string content) {
    text.resize(round_up(text.size(), 512), '\0');
    return tar()
        .pax({{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", "99"}})
        .file("f", text + content)
        .end();
  };
  expect_refused({
      {"runs out of order", "'f' has a sparse map out of order", kCorrupt,
       map("5,1,0,1", "9", "ab")},
      {"runs that overlap", "'f' has a sparse map out of order", kCorrupt,
       map("0,2,1,1", "9", "abc")},
      {"a run past the end", "'f' has a sparse map out of order", kCorrupt, map("8,2", "9", "ab")},
      {"a run that wraps", "'f' has a sparse map out of order", kCorrupt,
       map("1,999999999999999999", "9", "a")},
      {"more data than runs", "of 1 bytes, but 2 in the archive", kCorrupt, map("0,1", "9", "ab")},
      {"less data than runs", "of 2 bytes, but 1 in the archive", kCorrupt, map("0,2", "9", "a")},
      {"half a run", "map of half a run", kCorrupt, map("0,1,5", "9", "a")},
      {"a run of letters", "no decimal", kCorrupt, map("0,x", "9", "a")},
      {"a length first", "begins with a length", kCorrupt,
       tar().pax({{"GNU.sparse.numbytes", "1"}}).file("f", "a").end()},
      {"no size", "'f' is a sparse file without a size", kCorrupt,
       tar().pax({{"GNU.sparse.map", "0,1"}}).file("f", "a").end()},
      {"another version", "'f' is sparse in a way not known", kUnsupported,
       tar().pax({{"GNU.sparse.major", "2"}, {"GNU.sparse.size", "1"}}).file("f", "a").end()},
      {"a map without end", "'f' has a sparse map longer than its data", kCorrupt,
       map_1_0("300\n" + ones(254), "")},
      {"a map of letters", "that is no numbers", kCorrupt, map_1_0("x\n", "")},
      {"a map of a long line", "that is no numbers", kCorrupt, map_1_0(std::string(100, '1'), "")},
      {"a map of a billion runs", "too long a sparse map", kCorrupt, map_1_0("1000000000\n", "")},
      {"a map of nothing", "that is no numbers", kCorrupt, map_1_0("2\n\n\n", "")},
      {"a sparse folder", "'f' has content", kInvalid,
       tar().pax({{"GNU.sparse.size", "1"}}).directory("f").end()},
      {"a hole of 16 TiB", "'f' is too much", kTooLarge, map("", "17592186044416", "")},
      {"a hole of 17 TiB", "'f' is too large", kInvalid, map("", "18691697672192", "")},
      {"holes of over 250 times the data", "'f' is too much: 1 bytes of the archive stand",
       kTooLarge, map("0,1", "1073741824", "a")},
  });
}

TEST(HostileTar, ArchivesThatAreNoneOrTooMuch) {
  TarOptions few, little;
  few.limits.entries_max = 3;
  little.limits.content_bytes_max = 1000;
  std::string cut = tar().file("f", std::string(2000, 'x')).end().bytes();
  cut.resize(1500);
  const TarOptions oci{.whiteouts = TarWhiteouts::kOci};
  expect_refused({
      {"nothing", "cut off", kCorrupt, tar()},
      {"no end", "it has no end", kCorrupt, tar().file("f")},
      {"cut off within content", "cut off", kCorrupt, tar().raw(cut)},
      {"an entry behind the end", "follows the archive's end", kCorrupt,
       tar().end().file("f").end()},
      {"an entry behind one zero block", "follows the archive's end", kCorrupt,
       tar().raw(std::string(512, '\0')).file("f").end()},
      {"a character device", "'null' is a device", kInvalid,
       tar().add({.name = "null", .type = '3', .major = 1, .minor = 3}).end()},
      {"a block device", "'sda' is a device", kInvalid,
       tar().add({.name = "sda", .type = '4', .major = 8}).end()},
      {"a whiteout nobody asked for", "'gone' is a device", kInvalid,
       tar().add({.name = "gone", .type = '3'}).end()},
      {"a part of several archives", "'m' is of type 'M'", kUnsupported,
       tar().add({.name = "m", .type = 'M'}).end()},
      {"a type that no one knows", "'z' is of type 'z'", kUnsupported,
       tar().add({.name = "z", .type = 'z'}).end()},
      {"control characters in a name", "'a?[31m' is of type", kUnsupported,
       tar().add({.name = "a\x1b[31m", .type = 'z'}).end()},
      {"too many entries", "more than 3 entries", kTooLarge,
       tar().file("a").file("b").file("c").file("d").end(), few},
      {"too many headers of headers", "more than 3 entries", kTooLarge,
       tar().pax({}, 'g').pax({}, 'g').pax({}, 'g').file("a").end(), few},
      {"too many bytes", "'b' is too much", kTooLarge,
       tar().file("a", std::string(600, 'x')).file("b", std::string(600, 'x')).end(), little},
      {"a whiteout of nothing", "'.wh.' is a whiteout of what is no name", kInvalid,
       tar().file(".wh.").end(), oci},
      {"a whiteout of the parent", "'d/.wh...' is a whiteout of what is no name", kInvalid,
       tar().file("d/.wh...").end(), oci},
      {"a whiteout with content", "'.wh.a' is a whiteout, but no empty file", kInvalid,
       tar().file(".wh.a", "x").end(), oci},
      {"a whiteout that is a folder", "'.wh.a' is a whiteout, but no empty file", kInvalid,
       tar().directory(".wh.a").end(), oci},
      {"an opaque mark that is a link", "is a whiteout, but no empty file", kInvalid,
       tar().symlink("d/.wh..wh..opq", "x").end(), oci},
      {"a whiteout through a link", "'l/gone' leads through 'l'", kInvalid,
       tar().symlink("l", "/etc").file("l/.wh.gone").end(), oci},
      {"a file of the layers' keeping", "own keeping", kInvalid, tar().file(".wh..wh.plnk").end(),
       oci},
  });
}

}  // namespace
}  // namespace forerun::image
