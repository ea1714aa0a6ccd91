#include "image/hwdb.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace forerun::image {
namespace {

constexpr uint64_t kHeader = 80, kNodeSize = 24, kChildSize = 16, kValueSize = 16;

// Writes a database whose nodes stand at multiples of 256 KiB, so that each has pages of its own.
class DatabaseBuilder {
 public:
  static constexpr uint64_t kApart = 256 * kKiB;

  DatabaseBuilder() : bytes_(kHeader, '\0') {
    bytes_.replace(0, 8, "KSLPHHRH");
    for (const auto& [at, value] : {std::pair{32, kNodeSize}, {40, kChildSize}, {48, kValueSize}})
      put(static_cast<uint64_t>(at), value);
  }
  void root(uint64_t node) { put(56, node * kApart); }
  // Children by character: the numbers of their nodes.
  void node(uint64_t number, const std::string& prefix, const std::map<char, uint64_t>& children,
            bool has_value) {
    uint64_t at = number * kApart;
    const uint64_t texts = at + 8 * kKiB;
    put(at, prefix.empty() ? 0 : texts);
    put(at + 8, children.size());
    put(at + 16, has_value ? 1 : 0);
    at += kNodeSize;
    for (const auto& [character, child] : children) {
      put(at, static_cast<uint8_t>(character)), put(at + 8, child * kApart);
      at += kChildSize;
    }
    if (has_value) put(at, texts + 1024), put(at + 8, texts + 1024);
    write(texts, prefix + '\0'), write(texts + 1024, std::string("KEY") + '\0');
  }
  std::string bytes_;

 private:
  void put(uint64_t at, uint64_t value) {
    std::string eight;
    for (int i = 0; i < 8; ++i) eight += static_cast<char>(value >> (8 * i));
    write(at, eight);
  }
  void write(uint64_t at, const std::string& text) {
    if (bytes_.size() < at + text.size()) bytes_.resize(at + text.size());
    bytes_.replace(at, text.size(), text);
  }
};

struct HwdbTest : testing::Test {
  HwdbTest() {
    database.root(1);
    database.node(1, "", {{'a', 2}, {'p', 3}}, false);
    database.node(2, "cpi:X", {}, true);
    database.node(3, "ci:v", {{'*', 4}, {'8', 5}}, false);
    database.node(4, "d1", {}, true);
    database.node(5, "6", {}, true);
  }

  Result<std::vector<ByteRange>> reads(const std::vector<std::string>& names) {
    return hwdb_reads(
        [&](uint64_t offset, size_t size) -> Result<Buffer> {
          const auto part =
              as_bytes(database.bytes_).subspan(std::min<uint64_t>(offset, database.bytes_.size()));
          const auto taken = part.first(std::min(size, part.size()));
          return Buffer(taken.begin(), taken.end());
        },
        names);
  }
  // Returns the nodes whose beginnings the names lead to.
  std::vector<uint64_t> nodes(const std::vector<std::string>& names) {
    std::vector<uint64_t> found;
    const auto ranges = reads(names);
    for (uint64_t number = 1; ranges && number <= 5; ++number) {
      for (const ByteRange& range : *ranges) {
        if (ByteRange{number * DatabaseBuilder::kApart, 1}.overlaps(range)) found.push_back(number);
      }
    }
    return found;
  }

  DatabaseBuilder database;
};

TEST_F(HwdbTest, FollowsANameAlongItsCharacters) {
  EXPECT_THAT(nodes({"acpi:X"}), testing::ElementsAre(1, 2));
  EXPECT_THAT(nodes({"usb:v1"}), testing::ElementsAre(1));
}

TEST_F(HwdbTest, TriesPatternsBesideTheNextCharacter) {
  EXPECT_THAT(nodes({"pci:v86"}), testing::ElementsAre(1, 3, 4, 5));
  EXPECT_THAT(nodes({"pci:v7d1"}), testing::ElementsAre(1, 3, 4));
}

TEST_F(HwdbTest, CountsWhatLinuxReadsAroundAFault) {
  const auto found = reads({});
  ASSERT_TRUE(found);
  ASSERT_EQ(found->size(), 1u);
  EXPECT_EQ((*found)[0], (ByteRange{0, 128 * kKiB}));
}

TEST_F(HwdbTest, RefusesWhatIsNoDatabase) {
  database.bytes_[0] = 'x';
  EXPECT_EQ(reads({"a"}).error().code, ErrorCode::kCorrupt);
  database.bytes_.clear();
  EXPECT_EQ(reads({"a"}).error().code, ErrorCode::kCorrupt);
}

TEST_F(HwdbTest, NodesThatLeadToEachOtherEnd) {
  database.node(4, "", {{'x', 4}, {'y', 4}}, false);
  EXPECT_EQ(reads({"pci:v1"}).error().code, ErrorCode::kTooLarge);
}

TEST_F(HwdbTest, NodesPastTheEndAreRefused) {
  database.root(uint64_t{1} << 40);
  EXPECT_EQ(reads({"a"}).error().code, ErrorCode::kCorrupt);
  database.root(100);
  EXPECT_EQ(reads({"a"}).error().code, ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace forerun::image
