#include "repository/car.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace forerun::repository {
namespace {

class BufferFile final : public StorageFile {
 public:
  Status read(uint64_t offset, MutableByteView out) override {
    std::copy_n(data.begin() + static_cast<ptrdiff_t>(offset), out.size(), out.begin());
    return {};
  }
  Status write(uint64_t offset, ByteView bytes) override {
    if (is_full) return fail(ErrorCode::kNoSpace, "full");
    data.resize(std::max<size_t>(data.size(), offset + bytes.size()));
    std::ranges::copy(bytes, data.begin() + static_cast<ptrdiff_t>(offset));
    return {};
  }
  Status flush() override { return {}; }
  Status punch(ByteRange) override { return {}; }
  Status resize(uint64_t) override { return {}; }
  Result<uint64_t> size() override { return data.size(); }

  Buffer data;
  bool is_full = false;
};

// Returns whether `file` holds `bytes` somewhere.
bool holds(const BufferFile& file, ByteView bytes) {
  return !std::ranges::search(file.data, bytes).empty();
}

TEST(Car, NamesBlocksAsOthersDo) {
  // As any IPFS node says of these: a raw block, and a directory with nothing in it.
  EXPECT_EQ((Cid{Cid::Codec::kRaw, sha256(as_bytes("hello world"))}.text()),
            "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
  BufferFile file;
  CarWriter car(file);
  const auto root = car.finish();
  ASSERT_TRUE(root);
  EXPECT_EQ(root->text(), "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354");
}

TEST(Car, BeginsWithItsRootAndHoldsEachContentOnce) {
  BufferFile file;
  CarWriter car(file);
  ASSERT_TRUE(car.add("chunks/ab/one", as_bytes("content")));
  const uint64_t size = car.size_bytes();
  ASSERT_TRUE(car.add("chunks/cd/two", as_bytes("content")));
  EXPECT_EQ(car.size_bytes(), size);
  const auto root = car.finish();
  ASSERT_TRUE(root);
  EXPECT_EQ(file.data.size(), car.size_bytes());
  const ByteView header = ByteView(file.data).first(59);
  EXPECT_EQ(header[0], std::byte{58});
  EXPECT_FALSE(std::ranges::search(header, root->bytes()).empty());
  EXPECT_TRUE(holds(file, as_bytes("content")));
  EXPECT_TRUE(holds(file, as_bytes("two")));
}

TEST(Car, SameFilesGiveSameBytes) {
  const auto written = [](std::string_view last) {
    BufferFile file;
    CarWriter car(file);
    EXPECT_TRUE(car.add("b/1", as_bytes("x")));
    EXPECT_TRUE(car.add("a", Buffer(3 * kMiB + 5, std::byte{7})));
    EXPECT_TRUE(car.add("b/2", as_bytes(last)));
    EXPECT_TRUE(car.finish());
    return file.data;
  };
  EXPECT_EQ(written("y"), written("y"));
  EXPECT_NE(written("y"), written("z"));
}

TEST(Car, LargeFilesAreCutIntoLeaves) {
  BufferFile file;
  CarWriter car(file);
  Buffer large(2 * CarWriter::kLeafBytesMax + 1);
  large.back() = std::byte{9};
  ASSERT_TRUE(car.add("large", large));
  EXPECT_LT(file.data.size(), CarWriter::kLeafBytesMax + 1000);  // two leaves of zeroes are one
  const Cid last{Cid::Codec::kRaw, sha256(ByteView(large).last(1))};
  EXPECT_TRUE(holds(file, last.bytes()));
}

TEST(Car, RefusesWhatIsNoTree) {
  BufferFile file;
  CarWriter car(file);
  ASSERT_TRUE(car.add("a/b", as_bytes("1")));
  EXPECT_EQ(car.add("a/b", as_bytes("1")).error().code, ErrorCode::kExists);
  EXPECT_EQ(car.add("a", as_bytes("1")).error().code, ErrorCode::kExists);
  EXPECT_EQ(car.add("a/b/c", as_bytes("1")).error().code, ErrorCode::kExists);
}

TEST(Car, RefusesAFolderThatIsTooLarge) {
  BufferFile file;
  CarWriter car(file);
  for (size_t i = 0; i < CarWriter::kDirectoryEntriesMax; ++i)
    ASSERT_TRUE(car.add(fmt::format("d/{}", i), {}));
  EXPECT_EQ(car.add("d/more", {}).error().code, ErrorCode::kTooLarge);
  EXPECT_TRUE(car.add("e/more", {}));
}

TEST(Car, SaysWhenTheFileIsFull) {
  BufferFile file;
  file.is_full = true;
  CarWriter car(file);
  EXPECT_EQ(car.add("a", as_bytes("1")).error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(car.finish().error().code, ErrorCode::kNoSpace);
}

}  // namespace
}  // namespace forerun::repository
