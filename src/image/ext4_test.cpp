#include "image/ext4.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "core/rng.h"
#include "image/ext4_format.h"
#include "image/memory_file.h"

namespace forerun::image {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// The file systems that ext4_fixtures.py makes, and what stands in them.
Buffer fixture(const std::string& name) {
  std::ifstream in(std::string(FORERUN_EXT4_FIXTURES) + "/" + name, std::ios::binary);
  EXPECT_TRUE(in.good()) << name;
  in.seekg(0, std::ios::end);
  Buffer bytes(static_cast<size_t>(in.tellg()));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  return bytes;
}

Buffer pattern(uint64_t offset, size_t size) {
  Buffer bytes(size);
  for (size_t i = 0; i < size; ++i) {
    const uint64_t at = offset + i;
    bytes[i] = static_cast<std::byte>(at * 31 + at / 4096 * 7 + 1);
  }
  return bytes;
}

// holes.bin: every other 4 KiB is a hole.
constexpr uint64_t kHolesPieces = 400;
constexpr uint64_t kHolesSize = kHolesPieces * 8192 + 777;

std::vector<ByteRange> holes_data() {
  std::vector<ByteRange> ranges;
  for (uint64_t i = 0; i < kHolesPieces; ++i) ranges.push_back({i * 8192, 4096});
  ranges.push_back({kHolesPieces * 8192, 777});
  return ranges;
}
Buffer holes_content() {
  Buffer bytes(kHolesSize);
  for (const ByteRange& range : holes_data()) {
    std::ranges::copy(pattern(range.offset, range.length), &bytes[range.offset]);
  }
  return bytes;
}

// A disk that holds `system` from `offset` on.
struct Disk {
  explicit Disk(const Buffer& system, uint64_t offset = 0, uint64_t after = 0)
      : file(Buffer(offset + system.size() + after)), part{offset, system.size()} {
    std::ranges::copy(system, file.bytes.begin() + static_cast<ptrdiff_t>(offset));
    reader = open_disk(file, "disk.raw", DiskFormat::kRaw).value();
  }
  Result<std::unique_ptr<FileSystem>> open() { return open_ext4(*reader, part); }
  ByteView raw(ByteRange range) const {
    return ByteView(file.bytes).subspan(range.offset, range.length);
  }
  void put(uint64_t offset, uint64_t value, size_t size) {
    for (size_t i = 0; i < size; ++i) {
      file.bytes[part.offset + offset + i] = static_cast<std::byte>(value >> 8 * i);
    }
  }
  uint64_t get(uint64_t offset, size_t size) const {
    uint64_t value = 0;
    std::memcpy(&value, &file.bytes[offset], size);
    return value;
  }

  MemoryFile file;
  ByteRange part;
  std::unique_ptr<DiskReader> reader;
};

Error open_error(Disk& disk) {
  const auto opened = disk.open();
  return opened ? Error{} : opened.error();
}

Result<FileId> find(FileSystem& fs, std::string_view path) {
  FileId file = fs.root();
  while (!path.empty()) {
    const std::string_view name = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), name.size() + 1));
    FR_TRY(const std::vector<DirectoryEntry> entries, fs.list(file));
    const auto found = std::ranges::find(entries, name, &DirectoryEntry::name);
    if (found == entries.end()) return fail(ErrorCode::kNotFound, std::string(name));
    file = found->file;
  }
  return file;
}

std::vector<std::string> names(FileSystem& fs, std::string_view path) {
  std::vector<std::string> result;
  for (const DirectoryEntry& entry : fs.list(find(fs, path).value()).value()) {
    result.push_back(entry.name);
  }
  std::ranges::sort(result);
  return result;
}

Buffer read_all(FileSystem& fs, std::string_view path) {
  return fs.read(find(fs, path).value(), 0, size_t{64} << 20).value();
}

struct Ext4Kinds : testing::TestWithParam<std::string> {
  // The file system stands within a disk: every range must say so.
  Disk disk{fixture(GetParam()), kMiB, 8192};
  std::unique_ptr<FileSystem> fs = disk.open().value();
};

TEST_P(Ext4Kinds, ListsTheRoot) {
  EXPECT_THAT(names(*fs, ""),
              ElementsAre("a", "empty", "etc", "holes.bin", "long", "lost+found", "many", "medium",
                          "odd \xff\n name", "short", "solid.bin"));
}

TEST_P(Ext4Kinds, ReadsNestedFiles) {
  EXPECT_EQ(as_text(read_all(*fs, "a/b/c/d/deep.txt")), "deep\n");
  EXPECT_EQ(as_text(read_all(*fs, "etc/hostname")), "forerun\n");
  EXPECT_THAT(read_all(*fs, "empty"), IsEmpty());
  EXPECT_EQ(read_all(*fs, "medium"), pattern(0, 100));
}

TEST_P(Ext4Kinds, ListsADirectoryOfManyBlocks) {
  const std::vector<std::string> found = names(*fs, "many");
  ASSERT_THAT(found, SizeIs(600));
  for (size_t i = 0; i < 600; ++i) {
    EXPECT_EQ(found[i], fmt::format("a file with a rather long name {:04}", i));
  }
  EXPECT_GT(fs->info(find(*fs, "many").value())->size_bytes, 4096u);
}

TEST_P(Ext4Kinds, ReadsLinks) {
  std::string target;
  for (int i = 0; i < 30; ++i) target += "directory/";
  const FileId long_link = find(*fs, "long").value();
  const FileId short_link = find(*fs, "short").value();
  EXPECT_EQ(fs->link_target(long_link).value(), target + "end");
  EXPECT_EQ(fs->link_target(short_link).value(), "etc/hostname");
  const auto ranges = fs->content_ranges(long_link).value();
  ASSERT_THAT(ranges, SizeIs(1));
  EXPECT_EQ(as_text(disk.raw(ranges[0])), target + "end");
  EXPECT_THAT(fs->content_ranges(short_link).value(), IsEmpty());
}

TEST_P(Ext4Kinds, ContentRangesHoldTheContent) {
  const FileId solid = find(*fs, "solid.bin").value();
  EXPECT_EQ(fs->info(solid)->size_bytes, 300'000u);
  Buffer raw;
  for (const ByteRange& range : fs->content_ranges(solid).value()) {
    const ByteView bytes = disk.raw(range);
    raw.insert(raw.end(), bytes.begin(), bytes.end());
  }
  EXPECT_EQ(raw, pattern(0, 300'000));
  EXPECT_EQ(read_all(*fs, "solid.bin"), raw);
}

TEST_P(Ext4Kinds, ReadsHolesAsZeroesAndLeavesThemOut) {
  EXPECT_EQ(read_all(*fs, "holes.bin"), holes_content());
  Buffer expected;
  for (const ByteRange& range : holes_data()) {
    const Buffer piece = pattern(range.offset, range.length);
    expected.insert(expected.end(), piece.begin(), piece.end());
  }
  Buffer raw;
  for (const ByteRange& range : fs->content_ranges(find(*fs, "holes.bin").value()).value()) {
    const ByteView bytes = disk.raw(range);
    raw.insert(raw.end(), bytes.begin(), bytes.end());
  }
  EXPECT_EQ(raw, expected);
}

TEST_P(Ext4Kinds, ReadsAnyRange) {
  const FileId file = find(*fs, "holes.bin").value();
  const Buffer content = holes_content();
  Rng rng(3);
  for (int i = 0; i < 200; ++i) {
    const uint64_t offset = rng.below(kHolesSize + 1000);
    const size_t size = rng.below(40'000);
    const ByteRange there = intersect({offset, size}, {0, kHolesSize});
    const Buffer read = fs->read(file, offset, size).value();
    ASSERT_EQ(read.size(), there.length);
    EXPECT_TRUE(std::ranges::equal(
        read, ByteView(content).subspan(std::min(offset, kHolesSize), there.length)));
  }
}

TEST_P(Ext4Kinds, RecordRangesHoldTheRecords) {
  for (const char* path : {"", "a/b", "solid.bin", "holes.bin", "long", "many"}) {
    const FileId file = find(*fs, path).value();
    const ByteRange record = fs->record_range(file).value();
    const FileInfo info = fs->info(file).value();
    EXPECT_EQ(record.length % 128, 0u);
    EXPECT_EQ(disk.get(record.offset + 4, 4), info.size_bytes) << path;
    const uint64_t type = disk.get(record.offset, 2) >> 12;
    const bool is_directory = info.kind == FileKind::kDirectory;
    const bool is_link = info.kind == FileKind::kSymlink;
    EXPECT_EQ(type, is_directory ? 4u : is_link ? 10u : 8u) << path;
  }
}

TEST_P(Ext4Kinds, DirectoryRangesHoldTheNames) {
  std::string raw;
  for (const ByteRange& range : fs->content_ranges(find(*fs, "many").value()).value()) {
    raw += as_text(disk.raw(range));
  }
  EXPECT_THAT(raw, HasSubstr("a file with a rather long name 0599"));
}

TEST_P(Ext4Kinds, MountRangesBeginWithTheSuperblock) {
  const std::vector<ByteRange> ranges = fs->mount_ranges();
  ASSERT_GE(ranges.size(), 3u);
  EXPECT_LE(ranges[0].offset, kMiB + 1024);
  EXPECT_EQ(disk.get(kMiB + 1024 + 56, 2), 0xef53u);
  EXPECT_GE(ranges[0].end(), kMiB + 2048);
  for (const ByteRange& range : ranges) {
    EXPECT_EQ(intersect(range, disk.part), range);
  }
  const ByteRange root = fs->record_range(fs->root()).value();
  EXPECT_EQ(intersect(root, ranges.back()), root);
}

TEST_P(Ext4Kinds, RefusesFilesOfTheWrongKind) {
  const FileId file = find(*fs, "solid.bin").value();
  EXPECT_EQ(fs->list(file).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(fs->link_target(file).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(fs->read(fs->root(), 0, 10).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(fs->info(0).error().code, ErrorCode::kCorrupt);
  EXPECT_EQ(fs->record_range(uint64_t{1} << 32 | 2).error().code, ErrorCode::kCorrupt);
}

INSTANTIATE_TEST_SUITE_P(All, Ext4Kinds, testing::Values("ext4", "ext4_1k", "ext2", "inline"),
                         [](const auto& info) { return info.param; });

TEST(Ext4, JournalIsAMountRange) {
  Disk disk(fixture("ext4"));
  const auto ranges = disk.open().value()->mount_ranges();
  const bool has_journal = std::ranges::any_of(ranges, [&](const ByteRange& range) {
    return disk.get(range.offset, 4) == 0x98393bc0;  // big-endian c03b3998: a journal's block
  });
  EXPECT_TRUE(has_journal);
}

TEST(Ext4, InlineContentHasNoRanges) {
  Disk disk(fixture("inline"));
  const auto fs = disk.open().value();
  EXPECT_THAT(fs->content_ranges(find(*fs, "medium").value()).value(), IsEmpty());
  EXPECT_THAT(fs->content_ranges(find(*fs, "etc").value()).value(), IsEmpty());
}

TEST(Ext4, ReadsAnImageOfARunningSystem) {
  constexpr uint64_t kIncompatible = 1024 + 0x60;
  Disk disk(fixture("ext4"));
  disk.put(kIncompatible, disk.get(kIncompatible, 4) | 4, 4);  // needs recovery; checksum stale
  const auto fs = disk.open();
  ASSERT_TRUE(fs) << fs.error().message;
  EXPECT_EQ(as_text(read_all(**fs, "etc/hostname")), "forerun\n");
}

TEST(Ext4, RefusesWhatIsNoFileSystem) {
  Disk empty{Buffer(kMiB)};
  EXPECT_EQ(open_error(empty).code, ErrorCode::kInvalid);
  Disk tiny{Buffer(1024)};
  EXPECT_EQ(open_error(tiny).code, ErrorCode::kInvalid);
  Disk magic(fixture("small_ext4"));
  magic.put(1024 + 56, 0xef54, 2);
  EXPECT_EQ(open_error(magic).code, ErrorCode::kInvalid);
}

TEST(Ext4, RefusesATruncatedDisk) {
  Buffer system = fixture("small_ext4");
  system.resize(system.size() / 2);
  Disk disk(system);
  EXPECT_EQ(open_error(disk).code, ErrorCode::kCorrupt);
}

TEST(Ext4, RefusesAbsurdSuperblocks) {
  struct Field {
    uint64_t offset;
    uint64_t value;
  };
  // Blocks, first block, block size, blocks and inodes per group, inodes, inode size.
  for (const auto& [offset, value] :
       {Field{4, 0xffffffff}, Field{0x14, 77}, Field{0x18, 40}, Field{0x20, 0}, Field{0x28, 0},
        Field{0x28, 0xffffffff}, Field{0, 0xfffffff0}, Field{0x58, 3}, Field{0x20, 1}}) {
    Disk disk(fixture("small_ext4"));
    disk.put(1024 + offset, value, offset == 0x58 ? 2 : 4);
    EXPECT_EQ(open_error(disk).code, ErrorCode::kCorrupt) << offset;
  }
}

TEST(Ext4, RefusesUnknownFeatures) {
  Disk disk(fixture("small_ext4"));
  disk.put(1024 + 0x60, 0x80000000, 4);
  EXPECT_EQ(open_error(disk).code, ErrorCode::kUnsupported);
}

TEST(Ext4, ChecksumsFindAChangedRecord) {
  Disk disk(fixture("small_csum"));
  const auto fs = disk.open().value();
  const FileId file = find(*fs, "solid.bin").value();
  disk.put(fs->record_range(file)->offset + 0x10, 1, 4);
  const auto again = disk.open().value();
  EXPECT_EQ(again->info(file).error().code, ErrorCode::kCorrupt);
}

// Opens small_ext4 after `change` to the record of `path`, given its offset.
Result<std::vector<ByteRange>> ranges_after(
    const std::string& path, const std::function<void(Disk&, uint64_t record)>& change) {
  Disk disk(fixture("small_ext4"));
  FR_TRY(const auto fs, disk.open());
  FR_TRY(const FileId file, find(*fs, path));
  FR_TRY(const ByteRange record, fs->record_range(file));
  change(disk, record.offset);
  FR_TRY(const auto changed, disk.open());
  return changed->content_ranges(file);
}

constexpr uint64_t kBlockMap = 40;           // in a record
constexpr uint64_t kEntry = kBlockMap + 12;  // the first extent or index

TEST(Ext4, RefusesExtentsOutside) {
  const auto start = [](Disk& disk, uint64_t record) { disk.put(record + kEntry + 8, 1020, 4); };
  EXPECT_EQ(ranges_after("solid.bin", start).error().code, ErrorCode::kCorrupt);
  const auto far = [](Disk& disk, uint64_t record) { disk.put(record + kEntry + 6, 0xffff, 2); };
  EXPECT_EQ(ranges_after("solid.bin", far).error().code, ErrorCode::kCorrupt);
  const auto none = [](Disk& disk, uint64_t record) { disk.put(record + kEntry + 4, 0, 2); };
  EXPECT_EQ(ranges_after("solid.bin", none).error().code, ErrorCode::kCorrupt);
}

TEST(Ext4, RefusesTreesThatMeetThemselves) {
  // The node below the root says of itself that it is an index whose entries are itself.
  const auto ring = [](uint64_t depth) {
    return [depth](Disk& disk, uint64_t record) {
      const uint64_t node = disk.get(record + kEntry + 4, 4);
      disk.put(record + kBlockMap + 6, depth, 2);
      disk.put(node * 1024 + 6, depth - 1, 2);
      for (uint64_t i = 0; i < 12; ++i) {
        disk.put(node * 1024 + 12 + i * 12 + 4, node, 4);
        disk.put(node * 1024 + 12 + i * 12 + 8, 0, 2);
      }
    };
  };
  const auto is_refused = [](const Result<std::vector<ByteRange>>& ranges) {
    return !ranges && (ranges.error().code == ErrorCode::kCorrupt ||
                       ranges.error().code == ErrorCode::kTooLarge);
  };
  EXPECT_TRUE(is_refused(ranges_after("holes.bin", ring(5))));
  EXPECT_TRUE(is_refused(ranges_after("holes.bin", ring(60'000))));
}

TEST(Ext4, RefusesBrokenDirectoryEntries) {
  struct Change {
    uint64_t offset;  // from the first entry, which is "."
    uint64_t value;
    size_t size;
  };
  // Lengths that leave the block, stand still, or do not hold the name; a name with '/'.
  for (const auto& [offset, value, size] :
       {Change{4, 0xfff0, 2}, Change{4, 0, 2}, Change{4, 13, 2}, Change{6, 200, 1},
        Change{24, 0xffffff, 4}, Change{24 + 8, '/', 1}}) {
    Disk disk(fixture("small_ext4"));
    const auto fs = disk.open().value();
    const FileId file = find(*fs, "a").value();
    const uint64_t block = fs->content_ranges(file).value()[0].offset;
    disk.put(block + offset, value, size);
    const auto changed = disk.open().value();
    EXPECT_EQ(changed->list(file).error().code, ErrorCode::kCorrupt) << offset << ": " << value;
  }
}

TEST(Ext4, DirectoriesAreBounded) {
  Buffer block(4096);
  for (size_t at = 0; at < block.size(); at += 16) {
    block[at] = std::byte{3};
    block[at + 4] = std::byte{16};
    block[at + 6] = std::byte{1};
    block[at + 8] = std::byte{'x'};
  }
  DirectoryParser parser(100, 256);
  EXPECT_TRUE(parser.add_block(block));
  EXPECT_EQ(parser.add_block(block).error().code, ErrorCode::kTooLarge);
}

TEST(Ext4, BlocksOf64KiBHaveEntriesOfTheirSize) {
  Buffer block(64 * kKiB);
  block[0] = std::byte{3};
  block[4] = block[5] = std::byte{0xff};
  block[6] = std::byte{1};
  block[8] = std::byte{'x'};
  DirectoryParser parser(100, 10);
  ASSERT_TRUE(parser.add_block(block));
  EXPECT_THAT(std::move(parser).take(), SizeIs(1));
}

// Walks everything there is, with what every function says checked for staying in the disk.
// Returns how many calls failed. Bounded: broken directories can hold each other.
struct Walk {
  Disk& disk;
  FileSystem& fs;
  std::unordered_set<FileId> seen;
  size_t failures = 0;
  std::vector<ByteRange> metadata;

  void note(const std::vector<ByteRange>& ranges, bool is_metadata) {
    for (const ByteRange& range : ranges) {
      EXPECT_EQ(intersect(range, disk.part), range);
      if (is_metadata) metadata.push_back({range.offset, std::min<uint64_t>(range.length, 300)});
    }
  }
  // Notes what in a record is not a time, and the first block that maps the file further.
  void note_record(uint64_t record) {
    constexpr uint64_t kHead = 12;  // of a node of extents, and of the blocks a record maps itself
    metadata.push_back({record, 8});
    metadata.push_back({record + 26, 14});
    metadata.push_back({record + kBlockMap, 60});
    const bool has_extents = disk.get(record + 32, 4) & 0x80000;
    const uint64_t node = has_extents ? disk.get(record + kEntry + 4, 4)
                                      : disk.get(record + kBlockMap + kHead * 4, 4);
    const bool has_node = !has_extents || disk.get(record + kBlockMap + 6, 2) > 0;
    if (has_node && node != 0 && fits({node * 1024, 100}, disk.part.length)) {
      metadata.push_back({node * 1024, 100});
    }
  }
  void visit(FileId file) {
    if (seen.size() > 2000 || !seen.insert(file).second) return;
    const auto info = fs.info(file);
    const auto record = fs.record_range(file);
    const auto ranges = fs.content_ranges(file);
    failures += !info + !record + !ranges;
    if (record) note({*record}, false);
    if (record) note_record(record->offset);
    if (ranges) note(*ranges, info && info->kind != FileKind::kRegular);
    if (!info) return;
    failures += !fs.read(file, 0, 100'000) && info->kind == FileKind::kRegular;
    failures += !fs.link_target(file) && info->kind == FileKind::kSymlink;
    const auto entries = fs.list(file);
    if (!entries) failures += info->kind == FileKind::kDirectory;
    if (!entries) return;
    for (const DirectoryEntry& entry : *entries) visit(entry.file);
  }
};

struct Ext4Flips : testing::TestWithParam<std::string> {};

TEST_P(Ext4Flips, SurvivesFlippedBytes) {
  const Buffer intact = fixture(GetParam());
  Disk disk(intact);
  auto fs = disk.open().value();
  Walk whole{disk, *fs};
  whole.visit(fs->root());
  EXPECT_EQ(whole.failures, 0u);
  EXPECT_GT(whole.seen.size(), 50u);
  whole.note(fs->mount_ranges(), true);
  whole.metadata.push_back({1024, 1024});

  Rng rng(11);
  size_t failures = 0;
  size_t visited = 0;
  for (int i = 0; i < 300; ++i) {
    std::vector<uint64_t> changed;
    for (uint64_t flips = rng.between(1, 4); flips > 0; --flips) {
      const ByteRange range = whole.metadata[rng.below(whole.metadata.size())];
      changed.push_back(range.offset + rng.below(range.length));
      disk.file.bytes[changed.back()] ^= static_cast<std::byte>(rng.between(1, 255));
    }
    if (auto opened = disk.open()) {
      Walk walk{disk, **opened};
      walk.visit((*opened)->root());
      failures += walk.failures;
      visited += walk.seen.size();
    } else {
      ++failures;
    }
    for (const uint64_t at : changed) disk.file.bytes[at] = intact[at];
  }
  EXPECT_GT(failures, 30u);
  EXPECT_GT(visited, 5000u);
}

INSTANTIATE_TEST_SUITE_P(All, Ext4Flips,
                         testing::Values("small_ext4", "small_csum", "small_ext2", "small_inline"),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace forerun::image
