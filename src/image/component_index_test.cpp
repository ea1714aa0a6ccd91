#include "image/component_index.h"

#include <gtest/gtest.h>

#include "core/rng.h"
#include "image/tree_limits.h"

namespace forerun::image {
namespace {

using repository::ChunkRef;
using repository::kChunkSize;

Digest digest_of(std::string_view text) { return sha256(as_bytes(text)); }

TreeInode inode_of(InodeKind kind, uint16_t mode = 0755) {
  TreeInode inode;
  inode.kind = kind;
  inode.mode = mode;
  inode.uid = 70'000;
  inode.gid = 5;
  inode.mtime_s = 1'700'000'000;
  inode.mtime_ns = 123'456'789;
  return inode;
}

TreeInode file_of(std::string_view content, uint64_t size, std::vector<FileExtent> extents) {
  TreeInode inode = inode_of(InodeKind::kRegular, 04755);
  inode.size = size;
  inode.content = size == 0 ? sha256({}) : digest_of(content);
  inode.extents = std::move(extents);
  return inode;
}

// Names of the sample, by what they are.
enum Name : size_t { kRoot, kBlock, kDir, kCopy, kFile, kHard, kChar, kEmpty, kFifo, kGone, kLink };

ComponentIndex sample() {
  ComponentIndex index;
  index.info = {"nginx",
                "1.22.1-9",
                "service",
                "amd64",
                "apt nginx on debian-12",
                "BSD-2-Clause",
                {"debian-12", "openssl"},
                {"httpd"}};
  index.data.size_bytes = 2 * kChunkSize;
  index.data.chunks = {ChunkRef{digest_of("1"), kChunkSize, 1000},
                       ChunkRef{digest_of("2"), kChunkSize, 70}};
  TreeInode block = inode_of(InodeKind::kBlockDevice, 0660);
  block.device_major = 4000;
  block.device_minor = 0xfffff;
  TreeInode directory = inode_of(InodeKind::kDirectory, 01777);
  directory.is_opaque = true;
  directory.xattrs = {{"security.capability", Buffer(20, std::byte{7})}, {"user.empty", {}}};
  TreeInode character = inode_of(InodeKind::kCharDevice);
  character.device_major = 1;
  character.device_minor = 3;
  character.mtime_s = -5;
  TreeInode whiteout;
  whiteout.kind = InodeKind::kWhiteout;
  TreeInode link = inode_of(InodeKind::kSymlink, 0777);
  link.target = "../usr/share";
  // Two runs with a hole between them, and a file that ends within a block.
  const TreeInode file =
      file_of("file", 50'000, {{0, 0, 8192}, {16'384, 8192, 4096}, {40'960, 65'536, 9040}});
  index.tree.inodes = {inode_of(InodeKind::kDirectory),
                       block,
                       directory,
                       file,
                       file,
                       character,
                       file_of("", 0, {}),
                       inode_of(InodeKind::kFifo, 0600),
                       whiteout,
                       link};
  index.tree.names = {{0, 0, ""},     {0, 1, "block"}, {0, 2, "dir"},  {2, 3, "copy"},
                      {2, 4, "file"}, {2, 4, "hard"},  {0, 5, "dir-"}, {0, 6, "empty"},
                      {0, 7, "fifo"}, {0, 8, "gone"},  {0, 9, "link"}};
  return index;
}

TreeInode& inode_at(ComponentIndex& index, Name name) {
  return index.tree.inodes[index.tree.names[name].inode];
}

TEST(ComponentIndex, IsReadAsItWasWritten) {
  const ComponentIndex index = sample();
  ASSERT_EQ(canonical(index.tree), index.tree);
  const Buffer data = serialize(index);
  const auto read = parse_component_index(data);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, index);
  EXPECT_EQ(serialize(*read), data);
}

TEST(ComponentIndex, MayHaveNoFilesAndNoData) {
  ComponentIndex index;
  index.info.name = "nothing";
  index.tree.inodes = {inode_of(InodeKind::kDirectory)};
  index.tree.names = {{0, 0, ""}};
  const auto read = parse_component_index(serialize(index));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, index);
}

struct Spoilt {
  std::string_view said;  // part of the refusal
  std::function<void(ComponentIndex&)> spoil;
};

// Each is a sample with one thing wrong that serialize() can still write down.
void expect_refused(const std::vector<Spoilt>& cases) {
  for (const Spoilt& spoilt : cases) {
    ComponentIndex index = sample();
    spoilt.spoil(index);
    const auto read = parse_component_index(serialize(index));
    ASSERT_FALSE(read) << spoilt.said;
    EXPECT_EQ(read.error().code, ErrorCode::kCorrupt);
    EXPECT_NE(read.error().message.find(spoilt.said), std::string::npos) << read.error().message;
  }
}

TEST(ComponentIndex, RefusesNamesThatAreNone) {
  std::vector<Spoilt> cases;
  for (const std::string& name : {std::string(), std::string("."), std::string(".."),
                                  std::string("a/b"), std::string("a\0b", 3)}) {
    cases.push_back(
        {"cannot be a name", [=](auto& index) { index.tree.names[kBlock].name = name; }});
  }
  cases.push_back({"cannot be a name", [](auto& index) {
                     index.tree.names[kLink].name.assign(kNameBytesMax + 1, 'x');
                   }});
  cases.push_back(
      {"one is there twice", [](auto& index) { index.tree.names[kDir].name = "block"; }});
  cases.push_back({"not in order", [](auto& index) { index.tree.names[kHard].name = "aaa"; }});
  cases.push_back({"in no directory", [](auto& index) { index.tree.names[kDir].parent = kBlock; }});
  expect_refused(cases);
}

TEST(ComponentIndex, RefusesLinksToWhatHasOneName) {
  expect_refused({
      {"has two names", [](auto& index) { index.tree.names[kHard].inode = 2; }},
      {"has two names",
       [](auto& index) {
         index.tree.names.push_back({0, index.tree.names[kGone].inode, "linked-gone"});
       }},
      {"root is no directory",
       [](auto& index) {
         index.tree.inodes = {index.tree.inodes[3]};
         index.tree.names.resize(1);
       }},
  });
}

TEST(ComponentIndex, RefusesAttributesOutOfRange) {
  expect_refused({
      {"out of range", [](auto& index) { inode_at(index, kFile).mode = 010000; }},
      {"out of range", [](auto& index) { inode_at(index, kFifo).mtime_ns = 1'000'000'000; }},
      {"device's number", [](auto& index) { inode_at(index, kBlock).device_major = 4096; }},
      {"device's number", [](auto& index) { inode_at(index, kChar).device_minor = 1 << 20; }},
      {"is opaque", [](auto& index) { inode_at(index, kLink).is_opaque = true; }},
      {"whiteout has attributes",
       [](auto& index) { inode_at(index, kGone).xattrs = {{"user.x", {}}}; }},
      {"leads nowhere", [](auto& index) { inode_at(index, kLink).target = ""; }},
      {"leads nowhere", [](auto& index) { inode_at(index, kLink).target = std::string("a\0", 2); }},
      {"leads nowhere",
       [](auto& index) { inode_at(index, kLink).target.assign(kSymlinkBytesMax + 1, 'x'); }},
      {"not in order",
       [](auto& index) {
         std::swap(inode_at(index, kDir).xattrs[0].name, inode_at(index, kDir).xattrs[1].name);
       }},
      {"without a name", [](auto& index) { inode_at(index, kDir).xattrs[0].name = ""; }},
      {"too long", [](auto& index) { inode_at(index, kDir).xattrs[1].name.assign(256, 'x'); }},
      {"too long",
       [](auto& index) { inode_at(index, kDir).xattrs[0].value.resize(kXattrValueBytesMax + 1); }},
      {"too many",
       [](auto& index) {
         for (size_t i = 0; i < kXattrsMax; ++i)
           inode_at(index, kDir).xattrs.push_back({fmt::format("user.x{:04}", i), {}});
       }},
  });
}

TEST(ComponentIndex, RefusesExtentsOutOfPlace) {
  auto extents = [](std::vector<FileExtent> list) {
    return [=](ComponentIndex& index) {
      inode_at(index, kCopy).size = 1;  // out of the way
      inode_at(index, kCopy).extents.clear();
      inode_at(index, kFile).extents = list;
    };
  };
  expect_refused({
      {"end of its file", extents({{0, 0, 53'248 + 4096}})},
      {"end of its file", extents({{8192, 0, 4096}, {0, 4096, 4096}})},
      {"end of its file", extents({{0, 0, 8192}, {4096, 8192, 4096}})},
      {"end of its file", extents({{0, 0, 0}})},
      {"end of the data", extents({{0, 2 * kChunkSize - 4096, 8192}})},
      {"end of the data", extents({{0, 1ull << 60, 4096}})},
      {"should be one", extents({{0, 0, 4096}, {4096, 4096, 4096}})},
      {"data in common", extents({{0, 0, 8192}, {8192, 4096, 4096}})},
      {"size is out of range", [](auto& index) { inode_at(index, kFile).size = 1ull << 63; }},
      {"data in common", [](auto& index) { inode_at(index, kFile).content = digest_of("other"); }},
      {"data in common", [](auto& index) { inode_at(index, kFile).extents = {{0, 4096, 4096}}; }},
  });
}

TEST(ComponentIndex, RefusesDataThatIsNotAComponents) {
  expect_refused({
      {"whole blocks",
       [](auto& index) {
         index.data.size_bytes = kChunkSize + 5000;
         index.data.chunks[1].size = 5000;
       }},
  });
  ComponentIndex hole = sample();
  hole.data.chunks[0] = {{}, kChunkSize, 0};
  EXPECT_FALSE(parse_component_index(serialize(hole)));

  // A few bytes that claim to be 1 TiB, which would fill 640 MiB of memory.
  Buffer data = serialize(sample());
  const size_t at = as_text(data).find("FRINDEX");
  ASSERT_NE(at, std::string_view::npos);
  std::fill_n(data.begin() + static_cast<ptrdiff_t>(at) + 16, 8, std::byte{0});
  data[at + 16 + 5] = std::byte{1};
  EXPECT_EQ(parse_component_index(data).error().code, ErrorCode::kTooLarge);
}

TEST(ComponentIndex, RefusesInformationThatIsNone) {
  expect_refused({
      {"not readable", [](auto& index) { index.info.name = "../x"; }},
      {"not readable", [](auto& index) { index.info.version = "1\n2"; }},
      {"not readable", [](auto& index) { index.info.version.assign(kVersionBytesMax + 1, '1'); }},
      {"not readable", [](auto& index) { index.info.function = "two words"; }},
      {"not readable", [](auto& index) { index.info.architecture = "-"; }},
      {"not readable", [](auto& index) { index.info.origin = std::string("\0", 1); }},
      {"not readable", [](auto& index) { index.info.licence.assign(kInfoTextBytesMax + 1, 'x'); }},
      {"not in order", [](auto& index) { index.info.depends = {"b", "a"}; }},
      {"not in order", [](auto& index) { index.info.provides = {"a", "a"}; }},
      {"no component", [](auto& index) { index.info.depends = {""}; }},
  });
}

TEST(ComponentIndex, RefusesPathsThatNoSystemCallCouldName) {
  auto deep = [](size_t depth, size_t name_bytes) {
    ComponentIndex index = sample();
    index.tree.inodes.assign(depth + 1, inode_of(InodeKind::kDirectory));
    index.tree.names = {{0, 0, ""}};
    for (uint32_t i = 0; i < depth; ++i)
      index.tree.names.push_back({i, i + 1, std::string(name_bytes, 'd')});
    return parse_component_index(serialize(index)).has_value();
  };
  EXPECT_TRUE(deep(kTreeDepthMax, 1));
  EXPECT_FALSE(deep(kTreeDepthMax + 1, 1));
  EXPECT_TRUE(deep(15, 255));
  EXPECT_FALSE(deep(16, 255));  // 4096 bytes
}

TEST(ComponentIndex, RefusesAHeaderOfAnotherKind) {
  const Buffer good = serialize(sample());
  for (const size_t at : {0, 10, 12, 13, 16, 20, 24, 31}) {  // magic, reserved, counts
    Buffer data = good;
    data[at] ^= std::byte{0x40};
    EXPECT_FALSE(parse_component_index(data)) << at;
  }
  Buffer newer = good;
  newer[8] = std::byte{4};
  EXPECT_EQ(parse_component_index(newer).error().code, ErrorCode::kUnsupported);
  Buffer longer = good;
  longer.push_back(std::byte{0});
  EXPECT_FALSE(parse_component_index(longer));
}

TEST(ComponentIndex, DeltasNeedVersion3) {
  ComponentIndex index = sample();
  EXPECT_EQ(serialize(index)[8], std::byte{1});
  index.data.chunks[1].is_delta = true;
  index.data.bases = {ChunkRef{digest_of("basis"), kChunkSize, 500}};
  const Buffer data = serialize(index);
  EXPECT_EQ(data[8], std::byte{3});
  EXPECT_EQ(parse_component_index(data), index);
  Buffer without = serialize(sample());
  without[8] = std::byte{3};
  EXPECT_EQ(parse_component_index(without).error().code, ErrorCode::kCorrupt);
}

TEST(ComponentIndex, DirectoriesThatGiveWayNeedVersion2) {
  ComponentIndex index = sample();
  EXPECT_EQ(serialize(index)[8], std::byte{1});
  index.tree.inodes[index.tree.names[kDir].inode].gives_way = true;
  const Buffer good = serialize(index);
  EXPECT_EQ(good[8], std::byte{2});
  EXPECT_EQ(parse_component_index(good).value(), index);
  Buffer older = good;
  older[8] = std::byte{1};
  EXPECT_EQ(parse_component_index(older).error().code, ErrorCode::kCorrupt);
  Buffer needless = serialize(sample());
  needless[8] = std::byte{2};
  EXPECT_EQ(parse_component_index(needless).error().code, ErrorCode::kCorrupt);
  ComponentIndex file = sample();
  file.tree.inodes[file.tree.names[kFile].inode].gives_way = true;
  EXPECT_EQ(parse_component_index(serialize(file)).error().code, ErrorCode::kCorrupt);
}

TEST(ComponentIndex, RefusesNumbersOfTwoForms) {
  // The depth of the last name, one byte before its length and "link", in two bytes instead.
  Buffer data = serialize(sample());
  const std::string_view link = "\x01\x04link";
  const size_t at = as_text(data).rfind(link);
  ASSERT_NE(at, std::string_view::npos);
  data[at] = std::byte{0x81};
  data.insert(data.begin() + static_cast<ptrdiff_t>(at) + 1, std::byte{0});
  EXPECT_FALSE(parse_component_index(data));
}

TEST(ComponentIndex, RefusesEveryPrefix) {
  const Buffer data = serialize(sample());
  for (size_t size = 0; size < data.size(); ++size) {
    EXPECT_FALSE(parse_component_index(ByteView(data).first(size))) << size;
  }
}

TEST(ComponentIndex, AcceptsOnlyWhatItWouldWriteWhateverIsSpoilt) {
  const Buffer good = serialize(sample());
  Rng rng(3);
  size_t accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    Buffer data = good;
    for (uint64_t i = rng.between(1, 4); i > 0; --i) {
      const auto at = static_cast<ptrdiff_t>(rng.below(data.size()));
      switch (rng.below(5)) {
        case 0:
          data[static_cast<size_t>(at)] = static_cast<std::byte>(rng.next());
          break;
        case 1:
          data[static_cast<size_t>(at)] ^= static_cast<std::byte>(1u << rng.below(8));
          break;
        case 2:
          data.insert(data.begin() + at, static_cast<std::byte>(rng.next()));
          break;
        case 3:
          data[static_cast<size_t>(at)] = std::byte{0xff};
          break;
        default:
          data.erase(data.begin() + at);
      }
    }
    const auto read = parse_component_index(data);
    if (!read) continue;
    ++accepted;
    ASSERT_EQ(serialize(*read), data) << round;
    ASSERT_EQ(canonical(read->tree), read->tree) << round;
  }
  EXPECT_GT(accepted, 100u);  // else the rest was not reached
}

}  // namespace
}  // namespace forerun::image
