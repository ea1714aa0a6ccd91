#include "image/ext4_meanings.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "image/compose_fixture.h"
#include "image/composed_disk.h"
#include "image/composer.h"
#include "image/ext4.h"
#include "image/path_finder.h"

namespace forerun::image {
namespace {

ComponentFixture base(int files) {
  ComponentFixture fixture;
  for (const char* path : {"/etc", "/etc/init", "/usr", "/usr/share"}) fixture.directory(path);
  for (int i = 0; i < files; ++i)
    fixture.file(fmt::format("/usr/share/f{:03}", i), fmt::format("file {}", i));
  fixture.symlink("/etc/long", std::string(200, 'x'));
  return fixture;
}

struct Disk {
  ComponentFixture fixture;
  FileTree tree;
  MergedTree merged;
  Ext4Image image;

  Disk(ComponentFixture from, const std::string& generated = {}) : fixture(std::move(from)) {
    tree = fixture.tree();
    MergeOptions options;
    if (!generated.empty()) {
      TreeInode inode;
      inode.kind = InodeKind::kRegular;
      inode.mode = 0644;
      inode.size = 3;
      options.generated.push_back({generated, inode, Buffer(3, std::byte{'x'})});
    }
    merged = merge_trees(std::vector<MergeInput>{{&tree, "base", true, {}, {}}}, options).value();
    image = write_ext4(merged, std::array{uint64_t{fixture.data().size()}}, {}).value();
  }

  // Returns the names of what stands in a range of the disk.
  std::set<uint32_t> names_in(const ByteRange& range) const {
    std::set<uint32_t> names;
    for (const NamedRange& named : image.names)
      if (!intersect(named.range, range).empty()) names.insert(named.name);
    return names;
  }
  // Returns the names of the record of the file at `path`, and of its content.
  std::pair<std::set<uint32_t>, std::set<uint32_t>> names_of(std::string_view path) {
    ComposedDisk disk(image, {fixture.data()});
    const auto files = open_ext4(disk, {0, disk.size_bytes()});
    PathFinder finder(**files);
    const FileId file = finder.find(path)->file;
    std::set<uint32_t> content;
    for (const ByteRange& range : *(*files)->content_ranges(file)) content.merge(names_in(range));
    return {names_in(*(*files)->record_range(file)), content};
  }
};

TEST(Ext4Meanings, NameEverythingThatIsMade) {
  Disk disk(base(100), "/etc/hostname");
  // Every byte that is not zero, but for the journal's, of which all but the head is zeroes.
  for (uint64_t i = 0; i < disk.image.metadata.piece_count(); ++i) {
    const ByteView piece = disk.image.metadata.find(i);
    for (size_t at = 0; at < piece.size(); at += 4096) {
      if (all_zero(piece.subspan(at, 4096))) continue;
      EXPECT_FALSE(disk.names_in({i * SparseBytes::kPieceSize + at, 4096}).empty())
          << "block " << (i * SparseBytes::kPieceSize + at) / 4096;
    }
  }
}

TEST(Ext4Meanings, AreTheSameWhereverTheyStand) {
  ComponentFixture larger = base(100);
  larger.directory("/aaa");
  for (int i = 0; i < 300; ++i) larger.file(fmt::format("/aaa/{}", i), fmt::format("new {}", i));
  Disk one(base(100), "/etc/hostname"), other(larger, "/etc/hostname");
  for (const char* path :
       {"/", "/etc", "/etc/hostname", "/usr/share", "/usr/share/f010", "/usr/share/f090"}) {
    const auto [record, content] = one.names_of(path);
    EXPECT_EQ(record.size(), 1u) << path;
    EXPECT_EQ(record, other.names_of(path).first) << path;
    EXPECT_EQ(content, other.names_of(path).second) << path;
  }
  // Those of a component are no part of the metadata.
  EXPECT_TRUE(one.names_of("/usr/share/f010").second.empty());
  // A directory's record, its entries, the records in it and a made file's content differ.
  std::set<uint32_t> names;
  for (const char* path : {"/etc", "/etc/hostname"}) {
    const auto [record, content] = one.names_of(path);
    names.insert(record.begin(), record.end());
    names.insert(content.begin(), content.end());
  }
  EXPECT_EQ(names.size(), 4u);
  // Records of many files are named in parts.
  EXPECT_NE(one.names_of("/usr/share/f010").first, one.names_of("/usr/share/f090").first);
}

TEST(Ext4Meanings, AreOfTheMetadatasChunksOnceComposed) {
  ComponentIndex index;
  index.info.name = "base";
  ComponentFixture fixture = base(1000);
  index.tree = fixture.tree();
  index.data.size_bytes = fixture.data().size();
  for (uint64_t at = 0; at < fixture.data().size(); at += repository::kChunkSize)
    index.data.chunks.emplace_back();
  const auto image = compose(std::vector<ComposeInput>{{&index, true, {}, {}}}, {});
  ASSERT_TRUE(image.has_value());
  ASSERT_FALSE(image->meanings.empty());
  std::map<uint64_t, uint32_t> amounts;
  for (const predict::Meaning& meaning : image->meanings) amounts[meaning.block] += meaning.amount;
  EXPECT_EQ(amounts.size(), image->metadata.chunks.size());  // each means something
  for (const auto& [block, amount] : amounts) EXPECT_LE(amount, 256u) << block;
  EXPECT_TRUE(std::ranges::is_sorted(image->meanings));
}

}  // namespace
}  // namespace forerun::image
