#include "image/tar_reader.h"

#include <gtest/gtest.h>

#include "core/rng.h"
#include "image/tar_builder.h"

namespace forerun::image {
namespace {

struct Read {
  TarEntry entry;
  std::string content;
};

Result<std::vector<Read>> read_all(std::string_view bytes, TarOptions options = {}) {
  TarReader reader(stream_of(as_bytes(bytes)), options);
  std::vector<Read> all;
  for (;;) {
    FR_TRY(auto entry, reader.next());
    if (!entry) return all;
    Read& read = all.emplace_back(std::move(*entry), "");
    for (;;) {
      Buffer part(700);
      FR_TRY(const size_t count, reader.read(part));
      if (count == 0) break;
      read.content += as_text(ByteView(part).first(count));
    }
  }
}

// Returns the only entry.
Read read_one(const TarBuilder& archive, TarOptions options = {}) {
  auto all = read_all(archive.bytes(), options);
  EXPECT_TRUE(all) << all.error().message;
  if (!all || all->size() != 1) {
    ADD_FAILURE() << "not one entry";
    return {};
  }
  return std::move((*all)[0]);
}

TEST(TarReader, ReadsEveryKindOfEntry) {
  TarBuilder archive;
  archive.directory("./").directory("usr/").file("./usr//env", "hello");
  archive.symlink("link", "../usr").hard_link("again", "usr/env");
  archive.add({.name = "null", .type = '3', .mode = 0666, .major = 1, .minor = 3});
  archive.add({.name = "sda", .type = '4', .major = 8, .minor = 1});
  archive.add({.name = "fifo", .type = '6'}).add({.name = "old", .type = '7', .content = "x"});
  archive.end();
  const auto all = read_all(archive.bytes(), {.allow_devices = true});
  ASSERT_TRUE(all) << all.error().message;
  ASSERT_EQ(all->size(), 9u);
  const auto kind = [&](size_t i) { return (*all)[i].entry.inode.kind; };
  EXPECT_EQ((*all)[0].entry.path, "");
  EXPECT_EQ((*all)[1].entry.path, "usr");
  EXPECT_EQ(kind(1), InodeKind::kDirectory);
  EXPECT_EQ((*all)[2].entry.path, "usr/env");
  EXPECT_EQ((*all)[2].content, "hello");
  EXPECT_EQ((*all)[3].entry.inode.target, "../usr");
  EXPECT_EQ((*all)[4].entry.kind, TarEntry::Kind::kHardLink);
  EXPECT_EQ((*all)[4].entry.link_target, "usr/env");
  EXPECT_EQ(kind(5), InodeKind::kCharDevice);
  EXPECT_EQ((*all)[5].entry.inode.device_minor, 3u);
  EXPECT_EQ(kind(6), InodeKind::kBlockDevice);
  EXPECT_EQ((*all)[6].entry.inode.device_major, 8u);
  EXPECT_EQ(kind(7), InodeKind::kFifo);
  EXPECT_EQ((*all)[8].content, "x");
}

TEST(TarReader, ReadsAttributes) {
  const TreeInode inode =
      read_one(TarBuilder().add({.name = "f", .mode = 0104755, .uid = 7, .gid = 0777777}).end())
          .entry.inode;
  EXPECT_EQ(inode.mode, 04755);
  EXPECT_EQ(inode.uid, 7u);
  EXPECT_EQ(inode.gid, 0777777u);
  EXPECT_EQ(inode.mtime_s, 1'700'000'000);
  // Numbers that octal digits cannot hold, as GNU writes them.
  TarBuilder gnu;
  gnu.file("f").spoil(TarBuilder::kUid, std::string("\x80\0\0\0\x7f\xff\xff\xff", 8));
  gnu.spoil(TarBuilder::kMtime, std::string(12, '\xff')).end();
  EXPECT_EQ(read_one(gnu).entry.inode.uid, 0x7fffffffu);
  EXPECT_EQ(read_one(gnu).entry.inode.mtime_s, -1);
}

TEST(TarReader, ReadsPaxRecords) {
  const std::string longer(300, 'd');
  TarBuilder archive;
  archive.pax({{"comment", "of all"}}, 'g');
  archive.pax({{"path", "a/" + longer.substr(0, 200) + "/" + longer.substr(0, 250)},
               {"uid", "4294967294"},
               {"gid", "70000"},
               {"mtime", "-1.25"},
               {"uname", "nobody"},
               {"SCHILY.xattr.user.b", std::string("\0=\n", 3)},
               {"SCHILY.xattr.security.capability", "c"}});
  archive.file("short", "content").end();
  const Read read = read_one(archive);
  EXPECT_EQ(read.entry.path.size(), 2 + 200 + 1 + 250u);
  EXPECT_EQ(read.entry.inode.uid, 4'294'967'294u);
  EXPECT_EQ(read.entry.inode.gid, 70'000u);
  EXPECT_EQ(read.entry.inode.mtime_s, -2);
  EXPECT_EQ(read.entry.inode.mtime_ns, 750'000'000u);
  ASSERT_EQ(read.entry.inode.xattrs.size(), 2u);
  EXPECT_EQ(read.entry.inode.xattrs[0].name, "user.b");
  EXPECT_EQ(as_text(read.entry.inode.xattrs[0].value), std::string_view("\0=\n", 3));
  EXPECT_EQ(read.content, "content");
}

TEST(TarReader, TakesPaxRecordsForOneEntryOnly) {
  TarBuilder archive;
  archive.pax({{"path", "one"}, {"uid", "9"}, {"SCHILY.xattr.user.a", "b"}}).file("x", "1");
  archive.file("two", "2").end();
  const auto all = read_all(archive.bytes());
  ASSERT_TRUE(all);
  EXPECT_EQ((*all)[0].entry.path, "one");
  EXPECT_EQ((*all)[1].entry.path, "two");
  EXPECT_EQ((*all)[1].entry.inode.uid, 0u);
  EXPECT_TRUE((*all)[1].entry.inode.xattrs.empty());
}

TEST(TarReader, ReadsLongNames) {
  const std::string name = "dir/" + std::string(200, 'n');
  const std::string target(3000, 't');
  TarBuilder gnu;
  gnu.add({.name = "././@LongLink", .type = 'L', .content = name + '\0', .is_gnu = true});
  gnu.add({.name = "././@LongLink", .type = 'K', .content = target + '\0', .is_gnu = true});
  gnu.symlink("dir/nnn", "ttt").end();
  const TarEntry entry = read_one(gnu).entry;
  EXPECT_EQ(entry.path, name);
  EXPECT_EQ(entry.inode.target, target);
  TarBuilder ustar;
  ustar.file(std::string(100, 'x')).spoil(TarBuilder::kPrefix, "pre/fix").end();
  EXPECT_EQ(read_one(ustar).entry.path, "pre/fix/" + std::string(100, 'x'));
}

TEST(TarReader, KnowsDirectoriesOlderThanTheirType) {
  EXPECT_EQ(read_one(TarBuilder().file("d/").end()).entry.inode.kind, InodeKind::kDirectory);
}

// "abc", a hole to 10000, "de", a hole to 20000.
std::string sparse_content() {
  std::string content(20'000, '\0');
  content.replace(0, 3, "abc");
  content.replace(10'000, 2, "de");
  return content;
}

TEST(TarReader, ReadsSparseFiles) {
  std::vector<TarBuilder> archives(4);
  archives[0]
      .pax({{"GNU.sparse.size", "20000"},
            {"GNU.sparse.numblocks", "3"},
            {"GNU.sparse.offset", "0"},
            {"GNU.sparse.numbytes", "3"},
            {"GNU.sparse.offset", "10000"},
            {"GNU.sparse.numbytes", "2"},
            {"GNU.sparse.offset", "20000"},
            {"GNU.sparse.numbytes", "0"}})
      .file("s", "abcde");
  archives[1]
      .pax({{"GNU.sparse.name", "s"},
            {"GNU.sparse.size", "20000"},
            {"GNU.sparse.map", "0,3,10000,2,20000,0"}})
      .file("GNUSparseFile.0/s", "abcde");
  std::string map = "3\n0\n3\n10000\n2\n20000\n0\n";
  map.resize(512, '\0');
  archives[2]
      .pax({{"GNU.sparse.major", "1"},
            {"GNU.sparse.minor", "0"},
            {"GNU.sparse.name", "s"},
            {"GNU.sparse.realsize", "20000"}})
      .file("GNUSparseFile.0/s", map + "abcde");
  // GNU's own: two runs in the header, the empty one in a block that follows.
  std::string runs(512, '\0');
  runs.replace(0, 24,
               "00000047040\0"
               "00000000000\0",
               24);
  archives[3].header({.name = "s", .type = 'S', .is_gnu = true}, 5);
  archives[3].spoil(386, std::string("00000000000\0"
                                     "00000000003\0"
                                     "00000023420\0"
                                     "00000000002",
                                     47));
  archives[3].spoil(434, std::string("00000023422\0"
                                     "00000000000\0"
                                     "00000023422\0"
                                     "00000000000",
                                     47));
  archives[3].spoil(482, "\1").spoil(483, "00000047040").raw(runs).raw("abcde").pad();
  for (TarBuilder& archive : archives) {
    archive.file("after", "x").end();
    const auto all = read_all(archive.bytes());
    ASSERT_TRUE(all) << all.error().message;
    ASSERT_EQ(all->size(), 2u);
    EXPECT_EQ((*all)[0].entry.path, "s");
    EXPECT_EQ((*all)[0].entry.inode.size, 20'000u);
    EXPECT_EQ((*all)[0].content, sparse_content());
    EXPECT_EQ((*all)[1].content, "x");
  }
}

TEST(TarReader, SkipsWhatIsNotRead) {
  TarBuilder archive;
  archive.file("a", std::string(100'000, 'a')).file("b", "b").end();
  TarReader reader(stream_of(as_bytes(archive.bytes())), {});
  ASSERT_TRUE(*reader.next());
  Buffer part(10);
  ASSERT_EQ(*reader.read(part), 10u);
  const auto entry = reader.next();
  ASSERT_TRUE(entry && *entry);
  EXPECT_EQ((*entry)->path, "b");
  EXPECT_EQ(*reader.next(), std::nullopt);
  EXPECT_EQ(*reader.next(), std::nullopt);
}

TEST(TarReader, ReadsTheWhiteoutsOfLayers) {
  TarBuilder archive;
  archive.file("dir/.wh.gone")
      .file("dir/.wh..wh..opq")
      .file(".wh..wh..opq")
      .hard_link(".wh.aufs", ".wh..wh.aufs");
  archive.end();
  const auto all = read_all(archive.bytes(), {.whiteouts = TarWhiteouts::kOci});
  ASSERT_TRUE(all) << all.error().message;
  EXPECT_EQ((*all)[0].entry.kind, TarEntry::Kind::kWhiteout);
  EXPECT_EQ((*all)[0].entry.path, "dir/gone");
  EXPECT_EQ((*all)[1].entry.kind, TarEntry::Kind::kOpaque);
  EXPECT_EQ((*all)[1].entry.path, "dir");
  EXPECT_EQ((*all)[2].entry.path, "");
  EXPECT_EQ((*all)[3].entry.kind, TarEntry::Kind::kWhiteout);
  EXPECT_EQ((*all)[3].entry.path, "aufs");
  // Asked for none, they are files.
  EXPECT_EQ(read_all(archive.bytes())->front().entry.path, "dir/.wh.gone");
}

TEST(TarReader, ReadsTheWhiteoutsOfOverlays) {
  TarBuilder archive;
  archive.add({.name = "gone", .type = '3'}).end();
  const TarEntry entry = read_one(archive, {.whiteouts = TarWhiteouts::kOverlay}).entry;
  EXPECT_EQ(entry.kind, TarEntry::Kind::kWhiteout);
  EXPECT_EQ(entry.path, "gone");
  EXPECT_FALSE(read_all(archive.bytes()));
}

TEST(TarReader, RefusesEveryPrefix) {
  TarBuilder archive;
  archive.pax({{"path", "one"}}).file("x", "content").directory("d");
  const std::string entries = archive.bytes();
  archive.end();
  EXPECT_TRUE(read_all(archive.bytes()));
  EXPECT_TRUE(read_all(entries + std::string(512, '\0')));  // one block of zeroes will do
  for (size_t size = 0; size <= entries.size(); size += 64)
    EXPECT_FALSE(read_all(std::string_view(entries).substr(0, size))) << size;
}

TEST(TarReader, NeverReadsPastWhatItIsGiven) {
  TarBuilder archive;
  archive.pax({{"path", "one"}, {"mtime", "1.5"}, {"SCHILY.xattr.user.a", "b"}})
      .file("x", "content");
  archive.pax({{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.realsize", "9"}});
  std::string map = "1\n4\n5\n";
  map.resize(512, '\0');
  archive.file("s", map + "abcde").symlink("l", "t").hard_link("h", "one").end();
  Rng rng(1);
  size_t accepted = 0;
  TarOptions options;
  options.limits.content_bytes_max = kMiB;
  for (int round = 0; round < 5000; ++round) {
    std::string bytes = archive.bytes();
    for (uint64_t i = rng.between(1, 3); i > 0; --i)
      bytes[rng.below(bytes.size())] =
          static_cast<char>(rng.chance(0.5) ? rng.next() : '0' + rng.below(8));
    // Half of the time as an attacker would: with right checksums.
    for (size_t at = 0; rng.chance(0.5) && at < bytes.size(); at += 512) {
      if (bytes.compare(at + TarBuilder::kMagic, 5, "ustar") != 0) continue;
      std::string block = bytes.substr(at, 512);
      bytes.replace(at, 512, TarBuilder().raw(block).sum().bytes());
    }
    const auto all = read_all(bytes, options);
    if (all) {
      ++accepted;
    } else {
      ASSERT_FALSE(all.error().message.empty());
    }
  }
  EXPECT_GT(accepted, 50u);
}

}  // namespace
}  // namespace forerun::image
