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
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[0].range, (ByteRange{0, 100}));
  EXPECT_TRUE(pieces[0].chunk.is_zero());
  EXPECT_EQ(pieces[1].offset_in_chunk, 20u);
  EXPECT_EQ(pieces[2].range, (ByteRange{150, 9850}));
  EXPECT_EQ(pieces[2].chunk, ChunkRef{});
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

TEST(MappingTable, RefusesWhatIsOverItsLimits) {
  EXPECT_EQ(code_of(MappingTable::kSizeMax + 1, {}), ErrorCode::kTooLarge);
  std::vector<Extent> extents;
  for (uint64_t i = 0; i < MappingTable::kComponentsMax; ++i)
    extents.push_back({{i, 1}, component_of(1, 1), 0});
  EXPECT_EQ(code_of(1'000'000, extents), ErrorCode::kInternal);  // these can be
  extents.push_back({{extents.size(), 1}, component_of(1, 1), 0});
  EXPECT_EQ(code_of(1'000'000, extents), ErrorCode::kTooLarge);
}

TEST(MappingTable, JoinsExtentsThatContinueEachOther) {
  const auto component = component_of(1, 1000);
  const auto table = MappingTable::create(5000, {{{0, 10}, component, 0},
                                                 {{10, 10}, component, 10},
                                                 {{20, 10}, component, 40},
                                                 {{31, 10}, component, 50},
                                                 {{41, 10}, component_of(2, 1000), 60},
                                                 {{51, 10}, nullptr, 0}});
  ASSERT_TRUE(table);
  const auto extents = table->extents();
  ASSERT_EQ(extents.size(), 4u);
  EXPECT_EQ(extents[0].range, (ByteRange{0, 20}));
  EXPECT_EQ(extents[1].range, (ByteRange{20, 10}));
  EXPECT_EQ(extents[1].component_offset, 40u);
  EXPECT_EQ(extents[2].range, (ByteRange{31, 10}));
  EXPECT_EQ(extents[3].component->id, (ComponentId{2}));
  EXPECT_EQ(table->components().size(), 2u);
}

TEST(MappingTable, KeepsExtentsOfManyGigabytesWhole) {
  constexpr uint64_t kBegin = 4096;
  constexpr uint64_t kOffset = 1234;
  const auto component = component_of(1, 9 * kGiB);
  const uint64_t length = component->index.size_bytes - kOffset;
  const auto table =
      MappingTable::create(100 * kGiB, {{{kBegin, kGiB}, component, kOffset},
                                        {{kBegin + kGiB, length - kGiB}, component, kOffset + kGiB},
                                        {{50 * kGiB, 3 * kGiB}, component, 5 * kGiB}});
  ASSERT_TRUE(table);
  const auto extents = table->extents();
  ASSERT_EQ(extents.size(), 2u);
  EXPECT_EQ(extents[0].range, (ByteRange{kBegin, length}));
  EXPECT_EQ(extents[0].component_offset, kOffset);
  EXPECT_EQ(extents[1].component_offset, 5 * kGiB);
  for (const uint64_t at : {uint64_t{0}, 2 * kGiB - 1, 2 * kGiB, 4 * kGiB + 1, length - 1}) {
    const auto pieces = look_up(*table, {kBegin + at, 1});
    ASSERT_EQ(pieces.size(), 1u);
    EXPECT_EQ(pieces[0].chunk_index * kChunkSize + pieces[0].offset_in_chunk, kOffset + at);
  }
  EXPECT_TRUE(look_up(*table, {kBegin + length, 1})[0].chunk.is_zero());
}

TEST(MappingTable, TakesUpToSixteenBytesAndAThirdPerExtent) {
  const auto component = component_of(1, 1'000'000);
  std::vector<Extent> extents;
  for (uint64_t i = 0; i < 10'000; ++i) extents.push_back({{i * 4096, 1000}, component, i * 90});
  const auto table = MappingTable::create(kGiB, std::move(extents));
  ASSERT_TRUE(table);
  EXPECT_LE(table->memory_bytes(), 10'000 * 1633 / 100 + kKiB);
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

TEST(MappingTable, LocatesEachByteAsLookUpDoes) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    Rng rng(seed);
    const MappingTable table = random_table(rng);
    std::vector<uint64_t> offsets;
    for (int i = 0; i < 200; ++i) offsets.push_back(rng.below(table.size_bytes()));
    std::vector<Location> together(offsets.size());
    table.locate(offsets, together);
    for (size_t i = 0; i < offsets.size(); ++i) {
      const Location one = table.locate(offsets[i]);
      const ByteSource expected = naive(table, offsets[i]);
      ASSERT_EQ(one.component ? one.component->id.value : 0, expected.component);
      ASSERT_EQ(one.component_offset, expected.at);
      ASSERT_EQ(one.component, together[i].component);
      ASSERT_EQ(one.component_offset, together[i].component_offset);
      ASSERT_EQ(one.length, together[i].length);
      // Its last byte still belongs to it.
      const uint64_t last = offsets[i] + one.length - 1;
      const ByteSource at_last = naive(table, last);
      ASSERT_EQ(at_last.component, expected.component);
      ASSERT_EQ(at_last.at, expected.component != 0 ? expected.at + one.length - 1 : 0);
      // What follows does not continue it.
      if (last + 1 == table.size_bytes()) continue;
      const ByteSource after = naive(table, last + 1);
      ASSERT_FALSE(after.component == at_last.component &&
                   after.at == at_last.at + (at_last.component != 0 ? 1 : 0));
    }
  }
}

TEST(MappingTable, GrownItIsZeroesBehindItsEnd) {
  const ComponentPtr part = component_of(1, 2 * kChunkSize);
  const MappingTable table = MappingTable::whole(part).grown(3 * kChunkSize);
  EXPECT_EQ(table.size_bytes(), 3 * kChunkSize);
  EXPECT_EQ(table.locate(2 * kChunkSize - 1).component, part.get());
  EXPECT_EQ(table.locate(2 * kChunkSize).component, nullptr);
  EXPECT_EQ(table.locate(2 * kChunkSize).length, kChunkSize);
}

}  // namespace
}  // namespace forerun::image
