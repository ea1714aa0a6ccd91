#include "image/mapping_table.h"

#include <gtest/gtest.h>

#include "core/rng.h"

namespace forerun::image {
namespace {

using repository::ChunkRef;
using repository::kChunkSize;

// A component whose chunk i is named by (id, i); every third chunk is zeroes.
ComponentPtr component_of(uint32_t id, uint64_t size_bytes) {
  auto component = std::make_shared<Component>();
  component->id = {id};
  component->index.size_bytes = size_bytes;
  for (uint64_t i = 0; i < repository::chunk_count(size_bytes); ++i) {
    ChunkRef ref;
    ref.size = static_cast<uint32_t>(std::min<uint64_t>(kChunkSize, size_bytes - i * kChunkSize));
    if (i % 3 != 2) {
      ref.id.bytes[0] = static_cast<uint8_t>(id);
      ref.id.bytes[1] = static_cast<uint8_t>(i);
      ref.stored_size = 10;
    }
    component->index.chunks.push_back(ref);
  }
  return component;
}

std::vector<Piece> look_up(const MappingTable& table, ByteRange range) {
  std::vector<Piece> pieces;
  table.look_up(range, pieces);
  return pieces;
}

ErrorCode code_of(uint64_t size_bytes, std::vector<Extent> extents) {
  const auto table = MappingTable::create(size_bytes, std::move(extents));
  return table ? ErrorCode::kInternal : table.error().code;
}

TEST(MappingTable, IsOneComponentFromEndToEnd) {
  const auto component = component_of(3, 2 * kChunkSize + 100);
  const MappingTable table = MappingTable::whole(component);
  EXPECT_EQ(table.size_bytes(), component->index.size_bytes);
  const auto pieces = look_up(table, {kChunkSize - 10, kChunkSize + 20});
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[0].range, (ByteRange{kChunkSize - 10, 10}));
  EXPECT_EQ(pieces[0].offset_in_chunk, kChunkSize - 10);
  EXPECT_EQ(pieces[1].chunk, component->index.chunks[1]);
  EXPECT_EQ(pieces[1].chunk_index, 1u);
  EXPECT_EQ(pieces[2].range, (ByteRange{2 * kChunkSize, 10}));
  EXPECT_TRUE(pieces[2].chunk.is_zero());
  EXPECT_EQ(pieces[2].component, (ComponentId{3}));
}

TEST(MappingTable, ReadsGapsAsZeroes) {
  const auto table =
      MappingTable::create(10000, {{{100, 50}, component_of(1, 500), 20}, {{200, 10}, nullptr, 0}});
  ASSERT_TRUE(table);
  const auto pieces = look_up(*table, {0, 10000});
  ASSERT_EQ(pieces.size(), 5u);
  EXPECT_EQ(pieces[0].range, (ByteRange{0, 100}));
  EXPECT_TRUE(pieces[0].chunk.is_zero());
  EXPECT_EQ(pieces[1].offset_in_chunk, 20u);
  EXPECT_EQ(pieces[3].range, (ByteRange{200, 10}));
  EXPECT_EQ(pieces[4].range, (ByteRange{210, 9790}));
}

TEST(MappingTable, AnswersAnEmptyRangeWithNothing) {
  const MappingTable table = MappingTable::whole(component_of(1, 100));
  EXPECT_TRUE(look_up(table, {0, 0}).empty());
  EXPECT_TRUE(look_up(table, {100, 0}).empty());
}

TEST(MappingTable, RefusesExtentsThatCannotBe) {
  const auto component = component_of(1, 1000);
  EXPECT_EQ(code_of(1000, {{{0, 1001}, nullptr, 0}}), ErrorCode::kInvalid);
  EXPECT_EQ(code_of(1000, {{{UINT64_MAX, 2}, nullptr, 0}}), ErrorCode::kInvalid);
  EXPECT_EQ(code_of(1000, {{{2, UINT64_MAX}, nullptr, 0}}), ErrorCode::kInvalid);
  EXPECT_EQ(code_of(1000, {{{5, 0}, nullptr, 0}}), ErrorCode::kInvalid);
  EXPECT_EQ(code_of(1000, {{{0, 10}, nullptr, 0}, {{9, 10}, nullptr, 0}}), ErrorCode::kInvalid);
  EXPECT_EQ(code_of(1000, {{{10, 10}, nullptr, 0}, {{0, 10}, nullptr, 0}}), ErrorCode::kInvalid);
  EXPECT_EQ(code_of(5000, {{{0, 10}, component, 991}}), ErrorCode::kInvalid);
  EXPECT_EQ(code_of(5000, {{{0, 10}, component, UINT64_MAX}}), ErrorCode::kInvalid);
  EXPECT_EQ(code_of(5000, {{{0, 10}, component, 990}}), ErrorCode::kInternal);  // this one can
}

TEST(MappingTable, RefusesAComponentWhoseIndexIsShort) {
  auto component = std::make_shared<Component>();
  component->index.size_bytes = 3 * kChunkSize;
  component->index.chunks.resize(2);
  EXPECT_EQ(code_of(kChunkSize, {{{0, 10}, component, 0}}), ErrorCode::kInvalid);
}

// What one byte of a disk is, told one byte at a time: the reference for what look_up says of
// ranges.
struct ByteSource {
  uint32_t component = 0;
  uint64_t at = 0;
  ChunkRef chunk;
  bool operator==(const ByteSource&) const = default;
};

ByteSource naive(const MappingTable& table, uint64_t offset) {
  for (const Extent& extent : table.extents()) {
    if (offset < extent.range.offset || offset >= extent.range.end() || !extent.component) continue;
    const uint64_t at = extent.component_offset + offset - extent.range.offset;
    return {extent.component->id.value, at, extent.component->index.chunks[at / kChunkSize]};
  }
  return {};
}

MappingTable random_table(Rng& rng) {
  const std::vector<ComponentPtr> components{component_of(1, 700'000), component_of(2, 65'536),
                                             component_of(3, 1), nullptr};
  std::vector<Extent> extents;
  uint64_t at = 0;
  for (uint64_t i = rng.below(12); i > 0; --i) {
    at += rng.chance(0.5) ? 0 : rng.below(100'000);
    const ComponentPtr& component = components[rng.below(components.size())];
    const uint64_t room = component ? component->index.size_bytes : 300'000;
    const uint64_t length = rng.between(1, room);
    extents.push_back({{at, length}, component, component ? rng.below(room - length + 1) : 0});
    at += length;
  }
  auto table = MappingTable::create(at + rng.below(50'000) + 1, std::move(extents));
  EXPECT_TRUE(table);
  return std::move(*table);
}

void expect_as_naive(const MappingTable& table, ByteRange range) {
  uint64_t at = range.offset;
  for (const Piece& piece : look_up(table, range)) {
    ASSERT_EQ(piece.range.offset, at);
    ASSERT_GT(piece.range.length, 0u);
    at = piece.range.end();
    for (const uint64_t byte :
         {piece.range.offset, piece.range.offset + piece.range.length / 2, at - 1}) {
      const uint64_t in_component =
          piece.chunk_index * kChunkSize + piece.offset_in_chunk + byte - piece.range.offset;
      ASSERT_EQ((ByteSource{piece.component.value,
                            in_component * (piece.component.value != 0 ? 1 : 0), piece.chunk}),
                naive(table, byte))
          << byte;
    }
  }
  ASSERT_EQ(at, range.end());
}

TEST(MappingTable, AgreesWithTheNaiveReference) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    const MappingTable table = random_table(rng);
    for (int i = 0; i < 30; ++i) {
      const uint64_t offset = rng.below(table.size_bytes());
      expect_as_naive(table, {offset, rng.below(table.size_bytes() - offset + 1)});
    }
  }
}

}  // namespace
}  // namespace forerun::image
