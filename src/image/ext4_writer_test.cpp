#include "image/ext4_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/rng.h"
#include "image/compose_fixture.h"
#include "image/composed_disk.h"
#include "image/ext4.h"

namespace forerun::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Buffer noise(size_t size, uint64_t seed) {
  Rng rng(seed);
  Buffer bytes(round_up(size, 8));
  for (size_t at = 0; at < bytes.size(); at += 8) {
    const uint64_t word = rng.next();
    std::memcpy(&bytes[at], &word, sizeof word);
  }
  bytes.resize(size);
  return bytes;
}

// Components, and the disk they come to.
struct Disk {
  explicit Disk(std::vector<ComponentFixture> components, MergeOptions merge_options = {})
      : parts(std::move(components)) {
    options.identity = sha256(as_bytes("test"));
    options.time_s = 1'700'000'000;
    options.writable_bytes = 64 * kMiB;
    options.label = "root";
    for (const ComponentFixture& part : parts) trees.push_back(part.tree());
    std::vector<MergeInput> inputs;
    for (size_t i = 0; i < parts.size(); ++i) inputs.push_back({&trees[i], "part", i == 0, {}, {}});
    auto merged = merge_trees(inputs, merge_options);
    EXPECT_TRUE(merged.has_value());
    tree = std::move(*merged);
    for (ComponentFixture& part : parts) {
      data.push_back(part.data());
      sizes.push_back(part.data().size());
    }
  }

  Result<Ext4Image> write() { return write_ext4(tree, sizes, options); }
  std::vector<std::string> differences_after_write() {
    const auto image = write();
    if (!image) return {image.error().message};
    ComposedDisk disk(*image, data);
    return differences(disk, tree, data);
  }

  std::vector<ComponentFixture> parts;
  std::vector<FileTree> trees;
  MergedTree tree;
  std::vector<ByteView> data;
  std::vector<uint64_t> sizes;
  Ext4Options options;
};

TEST(Ext4Writer, WritesAnEmptyTree) {
  Disk disk({ComponentFixture()});
  EXPECT_THAT(disk.differences_after_write(), IsEmpty());
}

TEST(Ext4Writer, WritesEveryKindOfInode) {
  ComponentFixture part;
  part.directory("/dir", 01777);
  part.file("/dir/empty", "");
  part.file("/dir/small", "small");
  part.file("/dir/large", noise(300'000, 1));
  part.hard_link("/dir/again", "/dir/large");
  part.hard_link("/other", "/dir/small");
  part.symlink("/short", "dir/small");
  part.symlink("/inline", std::string(59, 'x'));
  part.symlink("/block", std::string(60, 'y'));
  part.symlink("/long", std::string(4095, 'z'));
  part.add("/fifo", InodeKind::kFifo, 0600);
  TreeInode& disk_device = part.add("/sda", InodeKind::kBlockDevice, 0660);
  disk_device.device_major = 8;
  disk_device.device_minor = 1;
  TreeInode& large_device = part.add("/large_device", InodeKind::kCharDevice, 0660);
  large_device.device_major = 4095;
  large_device.device_minor = 0xabcde;
  part.file("/suid", "x").mode = 06755;

  EXPECT_THAT(Disk({part}).differences_after_write(), IsEmpty());
}

TEST(Ext4Writer, KeepsLargeOwnersAndTimes) {
  ComponentFixture part;
  TreeInode& owned = part.file("/owned", "x");
  owned.uid = 0x12345678;
  owned.gid = 0xfffffffe;
  owned.mtime_ns = 999'999'999;
  part.file("/before_1970", "x").mtime_s = -2;
  part.file("/before_2038", "x").mtime_s = INT32_MAX;
  part.file("/after_2038", "x").mtime_s = int64_t{INT32_MAX} + 1;
  part.file("/after_2106", "x").mtime_s = int64_t{UINT32_MAX} + 5;
  part.file("/last", "x").mtime_s = (int64_t{1} << 34) + INT32_MIN - 1;

  EXPECT_THAT(Disk({part}).differences_after_write(), IsEmpty());
}

TEST(Ext4Writer, KeepsAttributesInTheInodeAndBesideIt) {
  ComponentFixture part;
  const Buffer small = noise(20, 1);
  const Buffer acl = [] {
    const auto view = as_bytes(std::string_view(
        "\2\0\0\0\1\0\6\0\xff\xff\xff\xff\2\0\7\0\x65\0\0\0\4\0\4\0\xff\xff\xff\xff"
        "\x10\0\7\0\xff\xff\xff\xff\x20\0\4\0\xff\xff\xff\xff",
        44));
    return Buffer(view.begin(), view.end());
  }();
  part.file("/capability", "x").xattrs = {{"security.capability", small}};
  part.file("/acl", "x").xattrs = {{"system.posix_acl_access", acl}};
  part.directory("/dir").xattrs = {{"system.posix_acl_default", acl}, {"trusted.overlay.x", small}};
  part.file("/large", "x").xattrs = {{"user.a", noise(1000, 2)},
                                     {"user.empty", {}},
                                     {"user.longer_name", noise(1001, 3)},
                                     {"user.z", noise(1002, 4)}};
  part.symlink("/link", "x").xattrs = {{"security.selinux", noise(40, 5)}};

  EXPECT_THAT(Disk({part}).differences_after_write(), IsEmpty());
}

TEST(Ext4Writer, RefusesAttributesThatDoNotFit) {
  ComponentFixture large, foreign;
  large.file("/file", "x").xattrs = {{"user.large", noise(5000, 1)}};
  foreign.file("/file", "x").xattrs = {{"os2.x", noise(5, 1)}};

  EXPECT_EQ(Disk({large}).write().error().code, ErrorCode::kTooLarge);
  EXPECT_EQ(Disk({foreign}).write().error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(Disk({large}).write().error().message, HasSubstr("/file"));
}

// A file of `runs` runs of one block with holes between them.
ComponentFixture with_holes(size_t runs) {
  ComponentFixture part;
  part.data() = noise(runs * 4096, runs);
  TreeInode& file = part.add("/holes", InodeKind::kRegular);
  file.size = runs * 8192 + 5;
  for (size_t i = 0; i < runs; ++i) file.extents.push_back({i * 8192 + 4096, i * 4096, 4096});
  file.extents.back().length = 4096;
  return part;
}

TEST(Ext4Writer, WritesTreesOfExtents) {
  for (const size_t runs : {4u, 5u, 340u, 341u, 1361u}) {
    EXPECT_THAT(Disk({with_holes(runs)}).differences_after_write(), IsEmpty()) << runs;
  }
}

TEST(Ext4Writer, WritesFilesThatAreOneHole) {
  ComponentFixture part;
  part.add("/hole", InodeKind::kRegular).size = (1ull << 44) - 4096;
  EXPECT_THAT(Disk({part}).differences_after_write(), IsEmpty());
}

TEST(Ext4Writer, SplitsExtentsOfLargeFiles) {
  ComponentFixture part;
  TreeInode& file = part.add("/large", InodeKind::kRegular);
  file.size = 600 * kMiB;
  file.extents.push_back({0, 0, file.size});
  Disk disk({part});
  disk.sizes[0] = file.size;
  const auto image = disk.write();
  ASSERT_TRUE(image.has_value());
  ComposedDisk reader(*image, disk.data);
  const auto files = open_ext4(reader, {0, reader.size_bytes()});
  const auto entries = (*files)->list((*files)->root());

  EXPECT_EQ(entries->at(0).name, "large");
  ASSERT_EQ(image->extents.size(), 1u);
  EXPECT_THAT(*(*files)->content_ranges(entries->at(0).file), ElementsAre(image->extents[0].range));
  EXPECT_EQ(image->extents[0].range.length, 600 * kMiB);
}

TEST(Ext4Writer, WritesDirectoriesOfManyBlocks) {
  ComponentFixture part;
  part.directory("/many");
  part.directory("/many/inner");
  for (int i = 0; i < 1000; ++i) part.file(fmt::format("/many/{:0{}}", i, 1 + i % 250), "");
  part.file("/many/inner/x", "x");

  EXPECT_THAT(Disk({part}).differences_after_write(), IsEmpty());
}

TEST(Ext4Writer, GivesSharedContentToEachFileOfItsOwn) {
  ComponentFixture part;
  const Buffer content = noise(10'000, 1);
  part.file("/a", content);
  part.file("/b", noise(5000, 2));
  part.file("/c", content);
  part.file("/d", content);
  Disk disk({part});
  const auto image = disk.write();

  EXPECT_THAT(disk.differences_after_write(), IsEmpty());
  EXPECT_EQ(image->statistics.copied_bytes, 2 * 3 * 4096u);
  ASSERT_EQ(image->extents.size(), 3u);
  EXPECT_EQ(image->extents[0].range.length, disk.sizes[0]);
  EXPECT_EQ(image->extents[2].component_offset, 0u);
}

TEST(Ext4Writer, PlacesEachComponentInItsOwnOrder) {
  ComponentFixture base, other;
  base.file("/a", noise(9000, 1));
  base.file("/b", noise(5000, 2));
  other.file("/z", noise(3'000'000, 3));
  other.file("/a", noise(8, 4));
  Disk disk({base, other});
  const auto image = disk.write();

  EXPECT_THAT(disk.differences_after_write(), IsEmpty());
  ASSERT_EQ(image->extents.size(), 2u);
  // The base's /a is replaced, so its extent begins with /b.
  EXPECT_EQ(image->extents[0].component_offset, 12288u);
  EXPECT_EQ((image->extents[0].range.offset - 12288) % kComponentAlignment, 0u);
  EXPECT_EQ(image->extents[1].range.offset % kComponentAlignment, 0u);
  EXPECT_EQ(image->extents[1].component_offset, 0u);
  EXPECT_THAT(image->statistics.component_bytes, ElementsAre(8192u, 3'002'368u + 4096u));
}

TEST(Ext4Writer, EndsAnExtentWhereItsComponentEnds) {
  ComponentFixture part;
  part.file("/a", noise(5000, 1));
  part.data().resize(5000);
  Disk disk({part});
  const auto image = disk.write();

  EXPECT_EQ(image->extents[0].range.length, 5000u);
  EXPECT_THAT(disk.differences_after_write(), IsEmpty());
}

TEST(Ext4Writer, WritesGeneratedContent) {
  ComponentFixture part;
  part.directory("/etc");
  MergeOptions options;
  options.generated.resize(2);
  options.generated[0].path = "/etc/passwd";
  options.generated[0].content = noise(70'000, 1);
  options.generated[1].path = "/etc/empty";

  EXPECT_THAT(Disk({part}, options).differences_after_write(), IsEmpty());
}

TEST(Ext4Writer, KeepsALostAndFoundOfTheTree) {
  ComponentFixture part;
  part.directory("/lost+found", 0711);
  part.file("/lost+found/x", "x");
  ComponentFixture file;
  file.file("/lost+found", "x");

  EXPECT_THAT(Disk({part}).differences_after_write(), IsEmpty());
  EXPECT_EQ(Disk({file}).write().error().code, ErrorCode::kInvalid);
}

TEST(Ext4Writer, LeavesTheSpaceThatIsAskedFor) {
  ComponentFixture part;
  part.file("/x", noise(100'000, 1));
  Disk disk({part});
  for (const uint64_t wanted : {uint64_t{0}, uint64_t{1}, 128 * kMiB, 100 * kGiB}) {
    disk.options.writable_bytes = wanted;
    const auto image = disk.write();
    EXPECT_GE(image->statistics.free_bytes, wanted);
    EXPECT_LT(image->statistics.free_bytes, wanted + 2 * kExt4SizeUnit);
    EXPECT_EQ(image->size_bytes % kExt4SizeUnit, 0u);
  }
}

TEST(Ext4Writer, WritesDisksOfManyGroups) {
  ComponentFixture part;
  part.file("/x", noise(100'000, 1));
  Disk disk({part});
  disk.options.writable_bytes = 600 * kGiB;
  EXPECT_THAT(disk.differences_after_write(), IsEmpty());
}

TEST(Ext4Writer, RefusesDisksThatAreTooLarge) {
  Disk disk({ComponentFixture()});
  disk.options.writable_bytes = kExt4SizeMax;
  EXPECT_EQ(disk.write().error().code, ErrorCode::kTooLarge);
}

TEST(Ext4Writer, RefusesExtentsThatLeaveTheirComponent) {
  const FileExtent wrong[] = {{0, 4096, 4096}, {0, 1, 10},     {1, 0, 10},
                              {0, 0, 0},       {0, 0, 100000}, {0, UINT64_MAX - 4095, 4096}};
  for (const FileExtent& extent : wrong) {
    ComponentFixture part;
    part.file("/x", "x").extents = {extent};
    part.data().resize(4096);
    EXPECT_EQ(Disk({part}).write().error().code, ErrorCode::kCorrupt) << extent.data_offset;
  }
}

Buffer all_bytes(const Ext4Image& image) {
  Buffer bytes(image.metadata.piece_count() * SparseBytes::kPieceSize);
  image.metadata.read(0, bytes);
  return bytes;
}

TEST(Ext4Writer, IsTheSameFromTheSame) {
  const auto make = [](const std::string& identity) {
    ComponentFixture part;
    part.file("/x", noise(100'000, 1));
    Disk disk({part});
    disk.options.identity = sha256(as_bytes(identity));
    return all_bytes(*disk.write());
  };
  EXPECT_TRUE(make("a") == make("a"));
  EXPECT_FALSE(make("a") == make("b"));
}

}  // namespace
}  // namespace forerun::image
