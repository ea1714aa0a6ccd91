#include "image/residence.h"

#include <gtest/gtest.h>

namespace forerun::image {
namespace {

using repository::ChunkRef;
using repository::kChunkSize;

ChunkId chunk_id(uint8_t component, uint8_t number) {
  ChunkId id;
  id.bytes[0] = component;
  id.bytes[1] = number;
  return id;
}

// Four whole chunks, the last of zeroes.
ComponentPtr component_of(uint8_t number) {
  auto component = std::make_shared<Component>();
  component->id = {number};
  component->index.size_bytes = 4 * kChunkSize;
  for (uint8_t i = 0; i < 3; ++i)
    component->index.chunks.push_back({chunk_id(number, i), kChunkSize, 100});
  component->index.chunks.push_back({{}, kChunkSize, 0});
  return component;
}

// Chunk 0 of each component is in memory, chunk 1 in the tier's file, the others far away.
Place by_number(const ChunkId& id) {
  return id.bytes[1] == 0 ? Place::kMemory : id.bytes[1] == 1 ? Place::kTierFile : Place::kRemote;
}

// [0, 4096) of component 1 at 4096, then all of component 2, then a part of component 1's end.
MappingTable make_table() {
  const ComponentPtr one = component_of(1);
  auto table = MappingTable::create(
      kMiB, {{{4096, 4096}, one, 0},
             {{8192, 4 * kChunkSize}, component_of(2), 0},
             {{8192 + 4 * kChunkSize, kChunkSize + 1000}, one, 2 * kChunkSize - 600}});
  EXPECT_TRUE(table);
  return std::move(*table);
}

TEST(Residence, OfADiskIsToldPerComponent) {
  const DiskResidence disk = residence_of(make_table(), by_number);

  ASSERT_EQ(disk.components.size(), 2u);
  EXPECT_EQ(disk.components[0].component->id, (ComponentId{1}));
  EXPECT_EQ(disk.components[0].extent_count, 2u);
  EXPECT_EQ(disk.components[0].residence, (Residence{4096, 600, kChunkSize, 400}));
  EXPECT_EQ(disk.components[1].extent_count, 1u);
  EXPECT_EQ(disk.components[1].residence,
            (Residence{kChunkSize, kChunkSize, kChunkSize, kChunkSize}));
}

TEST(Residence, OfADiskAddsUpToItsSize) {
  const DiskResidence disk = residence_of(make_table(), by_number);

  EXPECT_EQ(disk.residence,
            (Residence{kChunkSize + 4096, kChunkSize + 600, 2 * kChunkSize, kChunkSize + 400}));
  EXPECT_EQ(disk.residence.bytes() + disk.gap_bytes, kMiB);
  EXPECT_EQ(disk.gap_bytes, kMiB - 4096 - 4 * kChunkSize - kChunkSize - 1000);
}

TEST(Residence, OfARangeNamesItsExtentsWhole) {
  const auto extents = residence_of(make_table(), {8191, 2}, by_number);

  ASSERT_EQ(extents.size(), 2u);
  EXPECT_EQ(extents[0].extent.range, (ByteRange{4096, 4096}));
  EXPECT_EQ(extents[0].residence, (Residence{4096, 0, 0, 0}));
  EXPECT_EQ(extents[1].extent.component->id, (ComponentId{2}));
  EXPECT_EQ(extents[1].residence, residence_of(extents[1].extent, by_number));
}

TEST(Residence, OfAnEmptyDiskIsAGap) {
  const auto table = MappingTable::create(1000, {});
  const DiskResidence disk = residence_of(*table, by_number);
  EXPECT_TRUE(disk.components.empty());
  EXPECT_EQ(disk.residence, Residence{});
  EXPECT_EQ(disk.gap_bytes, 1000u);
}

TEST(Residence, AsksOncePerChunkOfARun) {
  size_t asked = 0;
  const Extent extent{{0, 3 * kChunkSize}, component_of(1), 0};
  residence_of(extent, [&](const ChunkId&) {
    ++asked;
    return Place::kMemory;
  });
  EXPECT_EQ(asked, 3u);
}

}  // namespace
}  // namespace forerun::image
