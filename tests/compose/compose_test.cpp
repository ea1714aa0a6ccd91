// Components composed to a disk: e2fsck finds nothing, and what is read back is what went in.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "random_components.h"

namespace forerun::image {
namespace {

using testing::IsEmpty;

void expect_faithful(const Composed& composed) {
  ASSERT_TRUE(composed.image.has_value()) << composed.image.error().message;
  EXPECT_EQ(complaints(*composed.image), "");
  ComposedDisk disk(*composed.image, composed.data);
  EXPECT_THAT(differences(disk, composed.tree, composed.data), IsEmpty());
}

class RandomTrees : public testing::TestWithParam<uint64_t> {};

TEST_P(RandomTrees, AreCleanAndReadBackEqual) {
  RandomComponents components(GetParam());
  std::vector<ComponentFixture> parts;
  for (const size_t files : {400u, 300u, 20u}) parts.push_back(components.next(files));
  expect_faithful(Composed(std::move(parts), GetParam() % 3 * kGiB));
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomTrees, testing::Range<uint64_t>(1, 21));

TEST(Compose, ManyFilesInManyGroups) {
  RandomComponents components(99);
  ComponentFixture part;
  part.directory("/many");
  for (int i = 0; i < 40'000; ++i) part.add(fmt::format("/many/{}", i), InodeKind::kFifo, 0600);
  expect_faithful(Composed({std::move(part)}, 0));
}

TEST(Compose, MoreDirectoriesThanLinksCanCount) {
  ComponentFixture part;
  part.directory("/many");
  for (int i = 0; i < 65'010; ++i) part.directory(fmt::format("/many/{}", i));
  expect_faithful(Composed({std::move(part)}, 0));
}

TEST(Compose, AsManyHardLinksAsThereMayBe) {
  ComponentFixture part;
  part.file("/file", "x");
  part.directory("/many");
  for (int i = 0; i < 64'999; ++i) part.hard_link(fmt::format("/many/{}", i), "/file");
  ComponentFixture over = part;
  over.hard_link("/one_more", "/file");

  expect_faithful(Composed({std::move(part)}, 0));
  EXPECT_EQ(Composed({std::move(over)}, 0).image.error().code, ErrorCode::kTooLarge);
}

TEST(Compose, DisksOfManySizes) {
  for (const uint64_t writable : {uint64_t{0}, 129 * kMiB, 3 * kGiB, 200 * kGiB, 900 * kGiB}) {
    RandomComponents components(writable);
    expect_faithful(Composed({components.next(50)}, writable));
  }
}

TEST(Compose, DisksThatCanGrow) {
  for (const uint64_t writable : {uint64_t{0}, 129 * kMiB, 3 * kGiB, 200 * kGiB}) {
    RandomComponents components(writable);
    expect_faithful(Composed({components.next(50), components.next(40)}, writable, false, true));
  }
}

// What would lie across the copies of the tables, 128, 384, 640, … MiB from the beginning, stands
// behind them.
TEST(Compose, LargeComponentsOnADiskThatCanGrow) {
  std::vector<ComponentFixture> parts(3);
  std::vector<FileTree> trees;
  std::vector<MergeInput> inputs;
  const std::vector<uint64_t> sizes{100 * kMiB, 250 * kMiB, 600 * kMiB};
  for (size_t i = 0; i < parts.size(); ++i) {
    TreeInode& file = parts[i].add(fmt::format("/{}", i), InodeKind::kRegular);
    file.size = sizes[i];
    file.extents = {{0, 0, sizes[i]}};
    trees.push_back(parts[i].tree());
  }
  for (size_t i = 0; i < parts.size(); ++i) inputs.push_back({&trees[i], "part", i == 0, {}, {}});
  const auto tree = merge_trees(inputs, {});
  ASSERT_TRUE(tree.has_value());
  const auto image = write_ext4(*tree, sizes, {.identity = sha256({}), .can_grow = true});
  ASSERT_TRUE(image.has_value());
  EXPECT_EQ(complaints(*image), "");
  ASSERT_EQ(image->extents.size(), 3u);
  for (const DataExtent& extent : image->extents) {
    EXPECT_EQ(extent.range.length, sizes[extent.component]);
    for (const uint64_t group : {1, 3, 5, 7, 9}) {
      EXPECT_TRUE(intersect(extent.range, {group * 128 * kMiB, 8192}).empty());
    }
  }
}

TEST(Compose, AWrongBitIsSeen) {
  RandomComponents components(3);
  Composed composed({components.next(50)}, 0);
  const uint64_t table_of_inodes = 4 * 4096;  // after superblock, descriptors and two bitmaps
  composed.image->metadata.at(table_of_inodes + 256 + 4, 1)[0] ^= std::byte{1};  // the root's size
  EXPECT_NE(complaints(*composed.image), "");
  ComposedDisk disk(*composed.image, composed.data);
  EXPECT_FALSE(differences(disk, composed.tree, composed.data).empty());
}

TEST(Compose, ALargeDisksMetadata) {
  RandomComponents components(7);
  const Composed composed({components.next(50)}, 2 * kKiB * kGiB);
  ASSERT_TRUE(composed.image.has_value());
  EXPECT_EQ(complaints(*composed.image), "");
}

}  // namespace
}  // namespace forerun::image
