#include "image/composer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "image/compose_fixture.h"
#include "image/composed_disk.h"

namespace forerun::image {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// Components with their data as chunks, as a repository would hold them.
struct Workshop {
  std::vector<ComponentIndex> indexes;
  std::vector<Buffer> data;
  std::map<ChunkId, Buffer> chunks;  // content
  ComposeOptions options;

  Workshop() {
    options.file_system.identity = sha256(as_bytes("manifest"));
    options.file_system.time_s = 1'700'000'000;
  }

  void add(const std::string& name, ComponentFixture fixture) {
    ComponentIndex index;
    index.info.name = name;
    index.tree = fixture.tree();
    data.push_back(fixture.data());
    index.data.size_bytes = data.back().size();
    for (size_t at = 0; at < data.back().size(); at += repository::kChunkSize) {
      const ByteView all = data.back();
      const ByteView part =
          all.subspan(at, std::min<size_t>(repository::kChunkSize, all.size() - at));
      const auto encoded = repository::encode_chunk(part);
      chunks[encoded.ref.id].assign(part.begin(), part.end());
      index.data.chunks.push_back(encoded.ref);
    }
    indexes.push_back(std::move(index));
  }

  std::vector<ComposeInput> inputs() const {
    std::vector<ComposeInput> list;
    for (size_t i = 0; i < indexes.size(); ++i) list.push_back({&indexes[i], i == 0, {}, {}});
    return list;
  }
  Result<ComposedImage> run() const { return compose(inputs(), options); }
};

// A disk as the daemon serves it: through its mapping table, chunk by chunk.
class MappedDisk final : public DiskReader {
 public:
  MappedDisk(const Workshop& workshop, const ComposedImage& image) : chunks_(workshop.chunks) {
    for (const auto& chunk : image.chunks) {
      const auto decoded = repository::decode_chunk(chunk.ref, chunk.stored);
      EXPECT_TRUE(decoded.has_value());
      chunks_[chunk.ref.id] = (*decoded)->content;
    }
    std::vector<ComponentPtr> parts;
    for (const ComponentIndex& index : workshop.indexes) {
      parts.push_back(std::make_shared<Component>(Component{{}, {}, index.data}));
    }
    auto table =
        map_image(image, std::make_shared<Component>(Component{{}, {}, image.metadata}), parts);
    EXPECT_TRUE(table.has_value());
    table_ = std::move(*table);
  }
  uint64_t size_bytes() const override { return table_.size_bytes(); }
  bool known_zero(ByteRange) override { return false; }
  Status read(uint64_t offset, MutableByteView out) override {
    std::vector<Piece> pieces;
    table_.look_up({offset, out.size()}, pieces);
    for (const Piece& piece : pieces) {
      const MutableByteView target = out.subspan(piece.range.offset - offset, piece.range.length);
      if (piece.chunk.is_zero()) {
        std::ranges::fill(target, std::byte{0});
      } else {
        const ByteView content = chunks_.at(piece.chunk.id);
        std::ranges::copy(content.subspan(piece.offset_in_chunk, target.size()), target.begin());
      }
    }
    return {};
  }

 private:
  std::map<ChunkId, Buffer> chunks_;
  MappingTable table_ = MappingTable::create(0, {}).value();
};

Workshop base_and_service() {
  Workshop workshop;
  ComponentFixture base, service;
  base.directory("/etc");
  base.file("/etc/passwd", "root:x:0:0");
  base.file("/etc/large", Buffer(150'000, std::byte{5}));
  base.file("/etc/zeroes", Buffer(200'000));
  service.directory("/etc");
  service.file("/etc/service.conf", "port 80").uid = 101;
  service.file("/etc/same", Buffer(150'000, std::byte{6}));
  service.file("/etc/twin", Buffer(150'000, std::byte{6}));
  workshop.add("base", base);
  workshop.add("service", service);
  GeneratedFile passwd;
  passwd.path = "/etc/passwd";
  passwd.inode.mode = 0644;
  passwd.content.assign(as_bytes("merged").begin(), as_bytes("merged").end());
  workshop.options.merge.generated.push_back(passwd);
  return workshop;
}

TEST(Composer, MakesADiskThatReadsBackThroughItsMappingTable) {
  const Workshop workshop = base_and_service();
  const auto image = workshop.run();
  ASSERT_TRUE(image.has_value());

  MappedDisk disk(workshop, *image);
  std::vector<MergeInput> inputs;
  for (size_t i = 0; i < 2; ++i) inputs.push_back({&workshop.indexes[i].tree, "", i == 0, {}, {}});
  const auto tree = merge_trees(inputs, workshop.options.merge);
  const std::vector<ByteView> data(workshop.data.begin(), workshop.data.end());
  EXPECT_THAT(differences(disk, *tree, data), IsEmpty());
}

TEST(Composer, CountsWhatComesFromWhere) {
  const auto image = base_and_service().run();

  const ComposeStatistics& statistics = image->statistics;
  EXPECT_EQ(statistics.inodes, 8u);
  EXPECT_EQ(statistics.directories, 2u);
  ASSERT_THAT(statistics.components, SizeIs(2));
  EXPECT_EQ(statistics.components[0], (ComposedComponent{2, 151'552 + 200'704}));
  EXPECT_EQ(statistics.components[1], (ComposedComponent{5, 4096 + 151'552}));
  EXPECT_EQ(statistics.generated_files, 1u);
  EXPECT_EQ(statistics.overridden, 1u);
  EXPECT_EQ(statistics.copied_bytes, 151'552u);
  EXPECT_EQ(statistics.metadata_bytes, image->metadata.chunks.size() * 65536);
  EXPECT_LT(statistics.stored_bytes, 20'000u);
}

TEST(Composer, LeavesZeroesOutOfTheMetadata) {
  const auto image = base_and_service().run();

  for (const auto& chunk : image->metadata.chunks) EXPECT_FALSE(chunk.is_zero());
  EXPECT_LT(image->metadata.size_bytes, 512 * kKiB);
}

TEST(Composer, IsTheSameFromTheSameHoweverItIsPacked) {
  Workshop workshop = base_and_service();
  const auto one = workshop.run();
  workshop.options.parallel_for = [](size_t count, const std::function<void(size_t)>& body) {
    for (size_t i = count; i-- > 0;) body(i);
  };
  const auto two = workshop.run();

  EXPECT_EQ(one->metadata, two->metadata);
  EXPECT_EQ(one->extents, two->extents);
  EXPECT_EQ(one->statistics, two->statistics);
}

TEST(Composer, RefusesConflictsWithBothSidesNamed) {
  Workshop workshop = base_and_service();
  ComponentFixture other;
  other.directory("/etc");
  other.file("/etc/service.conf", "port 81");
  workshop.add("other", other);

  const auto image = workshop.run();

  ASSERT_FALSE(image.has_value());
  EXPECT_EQ(image.error().code, ErrorCode::kInvalid);
  EXPECT_THAT(image.error().message,
              AllOf(HasSubstr("/etc/service.conf"), HasSubstr("'service' and 'other'")));
}

TEST(Composer, RefusesPartsThatAreNotTheImages) {
  const Workshop workshop = base_and_service();
  const auto image = workshop.run();
  const auto metadata = std::make_shared<Component>(Component{{}, {}, image->metadata});
  const auto small = std::make_shared<Component>();

  EXPECT_FALSE(map_image(*image, metadata, {}).has_value());
  EXPECT_FALSE(map_image(*image, metadata, std::vector<ComponentPtr>{small, small}).has_value());
}

}  // namespace
}  // namespace forerun::image
