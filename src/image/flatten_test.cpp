#include "image/flatten.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/assembler.h"
#include "image/disk_reader.h"
#include "image/ext4.h"
#include "image/path_finder.h"
#include "image/sparse_bytes.h"
#include "image/stored_components.h"

namespace forerun::image {
namespace {

// A sparse file. Notes whether anything is written that could have been a hole.
class HoleyFile final : public StorageFile {
 public:
  Status read(uint64_t offset, MutableByteView out) override {
    bytes.read(offset, out);
    return {};
  }
  Status write(uint64_t offset, ByteView data) override {
    for (size_t at = 0; at < data.size(); at += kBlockSize)
      zero_blocks += all_zero(data.subspan(at, std::min<size_t>(kBlockSize, data.size() - at)));
    bytes.write(offset, data);
    return {};
  }
  Status flush() override { return {}; }
  Status punch(ByteRange) override { return fail(ErrorCode::kUnsupported, "not asked for"); }
  Status resize(uint64_t size) override {
    if (size == 0) bytes = {};
    size_bytes = size;
    return {};
  }
  Result<uint64_t> size() override { return size_bytes; }

  SparseBytes bytes;
  uint64_t size_bytes = 0;
  size_t zero_blocks = 0;
};

struct FlattenTest : testing::Test {
  FlattenTest() {
    holey.replace(4096, 3 * 4096, 3 * 4096, '\0');
    put_component(store, {.name = "base", .function = "base"},
                  {{"/etc/small", "small"}, {"/usr/big", std::string(3 * kMiB, 'b')}});
    put_component(store, {.name = "part", .function = "service"}, {{"/usr/holey", holey}});
    const auto manifest = parse_manifest(
        "version = 1\nbase = \"base\"\ncomponents = [\"part\"]\nwritable_bytes = 16777216\n", "m");
    assembled = assemble(manifest.value(), store, {.image_name = "x", .is_tagged = false}).value();
  }
  std::string text_in(StorageFile& file, const char* path) {
    const auto disk = open_disk(file, "flat", DiskFormat::kRaw).value();
    const auto files = open_ext4(*disk, {0, disk->size_bytes()}).value();
    const auto found = PathFinder(*files).find(path).value();
    return std::string(as_text(files->read(found.file, 0, 4 * kMiB).value()));
  }
  MappingTable table() { return map_composition(assembled.composition, store).value(); }

  std::string holey = std::string(200'000, 'h');
  repository::MemoryStore store;
  AssembledImage assembled;
};

TEST_F(FlattenTest, FilesAreWhereTheFileSystemSays) {
  HoleyFile out;
  const auto written = flatten(table(), store, out);
  ASSERT_TRUE(written) << written.error().message;
  EXPECT_EQ(out.size_bytes, assembled.composition.size_bytes);
  EXPECT_EQ(text_in(out, "/etc/small"), "small");
  EXPECT_EQ(text_in(out, "/usr/big"), std::string(3 * kMiB, 'b'));
  EXPECT_EQ(text_in(out, "/usr/holey"), holey);
  EXPECT_EQ(out.zero_blocks, 0u);
  EXPECT_GT(*written, 3 * kMiB);
  EXPECT_LT(*written, 5 * kMiB);
}

TEST_F(FlattenTest, TheOrderOfWorkDoesNotMatter) {
  HoleyFile one, two;
  ASSERT_TRUE(flatten(table(), store, one));
  two.bytes.write(100, Buffer(100, std::byte{9}));
  FlattenOptions options;
  options.parallel_for = [](size_t count, const std::function<void(size_t)>& body) {
    for (size_t i = count; i > 0; --i) body(i - 1);
  };
  ASSERT_TRUE(flatten(table(), store, two, options));
  for (uint64_t piece = 0; piece * SparseBytes::kPieceSize < one.size_bytes; ++piece)
    ASSERT_TRUE(std::ranges::equal(one.bytes.find(piece), two.bytes.find(piece))) << piece;
}

TEST_F(FlattenTest, ReportsAndIsStopped) {
  HoleyFile out;
  FlattenOptions options;
  uint64_t last = 0;
  options.on_progress = [&](uint64_t done, uint64_t total) -> Status {
    last = done;
    EXPECT_LE(done, total);
    return {};
  };
  ASSERT_TRUE(flatten(table(), store, out, options));
  EXPECT_GT(last, 3 * kMiB);
  options.on_progress = [](uint64_t, uint64_t) -> Status {
    return fail(ErrorCode::kUnavailable, "enough");
  };
  EXPECT_EQ(flatten(table(), store, out, options).error().message, "enough");
}

TEST_F(FlattenTest, DamageIsFoundOut) {
  const auto big = store.objects();
  for (const auto& [path, bytes] : big)
    if (path.starts_with("chunks/")) store.spoil(path, Buffer(3, std::byte{1}));
  HoleyFile out;
  EXPECT_EQ(flatten(table(), store, out).error().code, ErrorCode::kCorrupt);
}

TEST_F(FlattenTest, AnImageWithoutATagIsListedNowhere) {
  EXPECT_TRUE(store.list_images()->empty());
  const auto found = fetch_composition(store, assembled.tag.index);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(*found, assembled.composition);
}

}  // namespace
}  // namespace forerun::image
