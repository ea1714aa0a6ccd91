#include "disk/virtual_disk.h"

#include <gtest/gtest.h>

#include "core/rng.h"
#include "disk/crashable_folder.h"

namespace forerun::disk {
namespace {

using repository::ChunkPtr;
using repository::kChunkSize;
using trace::ServedFrom;

// An image of six chunks: the third is zeroes, the last is short.
struct TestImage {
  TestImage() {
    Rng rng(3);
    content.resize(5 * kChunkSize + 20'000 + 100);
    for (size_t i = 0; i < content.size(); ++i) {
      content[i] = i / kChunkSize == 2 ? std::byte{0} : static_cast<std::byte>(rng.next());
    }
    auto component = std::make_shared<image::Component>();
    component->id = ComponentId{7};
    component->digest = sha256(as_bytes("index"));
    component->index.size_bytes = content.size();
    for (size_t at = 0; at < content.size(); at += kChunkSize) {
      const ByteView part =
          ByteView(content).subspan(at).first(std::min<size_t>(kChunkSize, content.size() - at));
      auto chunk = std::make_shared<repository::Chunk>();
      chunk->content.assign(part.begin(), part.end());
      chunk->id = all_zero(part) ? ChunkId{} : sha256(part);
      const auto size = static_cast<uint32_t>(part.size());
      component->index.chunks.push_back(
          {chunk->id, size, all_zero(part) ? 0 : size + repository::kStoredHeaderSize});
      chunks.push_back(std::move(chunk));
    }
    whole = component;
  }
  Buffer content;
  std::vector<ChunkPtr> chunks;
  image::ComponentPtr whole;
};

const TestImage& test_image() {
  static const TestImage image;
  return image;
}

class VirtualDiskTest : public testing::Test {
 protected:
  void open(uint64_t tier_chunks, bool writable, image::MappingTable table) {
    disk_.reset();  // before the tier that it reads from
    tier_ = std::move(*tier::Tier::open(
        {.memory_bytes_max = tier_chunks * kChunkSize, .file_bytes_max = 0}, nullptr, nullptr));
    std::unique_ptr<Overlay> overlay;
    if (writable) {
      overlay = std::move(*Overlay::open(
          folder_, "disk", {.size_bytes = table.size_bytes(), .base = test_image().whole->digest}));
    }
    disk_ = std::make_unique<VirtualDisk>(std::move(table), std::move(overlay), *tier_);
  }
  void open(uint64_t tier_chunks, bool writable) {
    open(tier_chunks, writable, image::MappingTable::whole(test_image().whole));
  }
  void warm() {
    for (const ChunkPtr& chunk : test_image().chunks) {
      if (chunk->id != ChunkId{}) tier_->insert(chunk, tier::Admission::kDemand);
    }
  }
  // Fetches what is missing, as the daemon would.
  void fetch(const std::vector<Missing>& missing, Pins& pins) {
    for (const Missing& each : missing) {
      const ChunkPtr& chunk = test_image().chunks.at(each.chunk_index);
      EXPECT_EQ(chunk->id, each.chunk.id);
      EXPECT_EQ(each.component, ComponentId{7});
      tier_->insert(chunk, tier::Admission::kDemand);
      pins[each.chunk.id] = chunk;
    }
  }
  Buffer read(ByteRange range) {
    ReadSlices out;
    Pins pins;
    auto served = disk_->try_read(range, out, work_, {});
    if (served && !*served) {
      fetch(work_.missing, pins);
      served = disk_->try_read(range, out, work_, {.pins = &pins});
    }
    EXPECT_TRUE(served && *served);
    return joined(out);
  }
  static Buffer joined(const ReadSlices& out) {
    Buffer data;
    for (const ByteView slice : out.slices) data.insert(data.end(), slice.begin(), slice.end());
    return data;
  }
  Pins pins_for(ByteRange range) {
    Pins pins;
    if (!disk_->prepare_write(range, pins, work_, false)) fetch(work_.missing, pins);
    EXPECT_TRUE(disk_->prepare_write(range, pins, work_, false));
    return pins;
  }
  std::vector<StatusExtent> status(ByteRange range, size_t extents_max = 100) {
    std::vector<StatusExtent> extents;
    disk_->block_status(range, extents_max, extents);
    return extents;
  }
  static Buffer image_part(ByteRange range) {
    const auto begin = test_image().content.begin() + static_cast<ptrdiff_t>(range.offset);
    return {begin, begin + static_cast<ptrdiff_t>(range.length)};
  }

  CrashableFolder folder_{1};
  std::unique_ptr<tier::Tier> tier_;
  std::unique_ptr<VirtualDisk> disk_;
  DiskWork work_;
};

constexpr StatusExtent allocated(uint64_t length) { return {length, false, false}; }
constexpr StatusExtent zeroes(uint64_t length) { return {length, true, true}; }

TEST_F(VirtualDiskTest, WarmReadPointsIntoTheChunk) {
  open(64, false);
  warm();
  ReadSlices out;

  const auto served = disk_->try_read({kChunkSize + 4096, 4096}, out, work_, {});

  ASSERT_TRUE(served && *served);
  ASSERT_EQ(out.slices.size(), 1u);
  EXPECT_EQ(out.slices[0].data(), test_image().chunks[1]->content.data() + 4096);
  EXPECT_EQ(out.owners.size(), 1u);
  EXPECT_EQ(work_.touches, (std::vector<Touch>{{ComponentId{7}, 1, 1, ServedFrom::kMemory}}));
}

TEST_F(VirtualDiskTest, ColdReadListsWhatIsMissingAndLeavesTheAnswer) {
  open(64, true);
  ReadSlices out;
  Buffer& kept = out.add_buffer(3);
  out.slices.emplace_back(kept);

  const auto served = disk_->try_read({100, 4 * kChunkSize}, out, work_, {});

  ASSERT_TRUE(served && !*served);
  EXPECT_EQ(out.slices.size(), 1u);
  EXPECT_EQ(out.buffers.size(), 1u);
  std::vector<uint64_t> missing;
  for (const Missing& each : work_.missing) missing.push_back(each.chunk_index);
  EXPECT_EQ(missing, (std::vector<uint64_t>{0, 1, 3, 4}));
}

TEST_F(VirtualDiskTest, GivesUpAtTheFirstMissIfAskedSo) {
  open(64, false);
  tier_->insert(test_image().chunks[1], tier::Admission::kDemand);
  ReadSlices out;

  const auto served = disk_->try_read({0, 2 * kChunkSize}, out, work_, {.list_missing = false});

  ASSERT_TRUE(served && !*served);
  EXPECT_TRUE(work_.missing.empty());
  EXPECT_TRUE(work_.touches.empty());  // the second chunk was not looked for
}

TEST_F(VirtualDiskTest, PinsServeWhatTheTierCannotHold) {
  open(0, false);
  EXPECT_EQ(read({0, disk_->size_bytes()}), test_image().content);
  EXPECT_EQ(work_.touches.front(), (Touch{ComponentId{7}, 0, 2, ServedFrom::kRepository}));
}

TEST_F(VirtualDiskTest, WhatWasFoundIsHeldWhileTheRestIsWaitedFor) {
  open(64, false);
  tier_->insert(test_image().chunks[0], tier::Admission::kDemand);
  ReadSlices out;
  Pins pins;
  ASSERT_FALSE(*disk_->try_read({0, 2 * kChunkSize}, out, work_, {.pins = &pins}));

  tier_->erase(test_image().chunks[0]->id);
  pins[test_image().chunks[1]->id] = test_image().chunks[1];

  EXPECT_TRUE(*disk_->try_read({0, 2 * kChunkSize}, out, work_, {.pins = &pins}));
  EXPECT_EQ(joined(out), image_part({0, 2 * kChunkSize}));
}

TEST_F(VirtualDiskTest, ZeroChunksNeedNoFetch) {
  open(64, false);
  ReadSlices out;

  const auto served = disk_->try_read({2 * kChunkSize, kChunkSize}, out, work_, {});

  ASSERT_TRUE(served && *served);
  EXPECT_EQ(joined(out), Buffer(kChunkSize));
  EXPECT_EQ(work_.touches, (std::vector<Touch>{{ComponentId{7}, 2, 1, ServedFrom::kLocal}}));
}

TEST_F(VirtualDiskTest, TouchesOfAdjacentChunksAreOneRun) {
  open(64, false);
  warm();
  ReadSlices out;

  ASSERT_TRUE(*disk_->try_read({10, disk_->size_bytes() - 10}, out, work_, {}));

  const std::vector<Touch> expected = {{ComponentId{7}, 0, 2, ServedFrom::kMemory},
                                       {ComponentId{7}, 2, 1, ServedFrom::kLocal},
                                       {ComponentId{7}, 3, 3, ServedFrom::kMemory}};
  EXPECT_EQ(work_.touches, expected);
}

TEST_F(VirtualDiskTest, TwoDisksOfOneImageHoldItsChunksOnce) {
  open(64, false);
  read({0, 4096});  // waits for the first chunk
  {
    VirtualDisk other(image::MappingTable::whole(test_image().whole), nullptr, *tier_);
    ReadSlices out;
    ASSERT_TRUE(*other.try_read({0, 4096}, out, work_, {}));
    EXPECT_EQ(tier_->stats().memory_bytes, kChunkSize);
    EXPECT_EQ(tier_->pool().shared_bytes, kChunkSize);
    EXPECT_EQ(tier_->pool().copies_bytes, 2 * kChunkSize);
  }
  EXPECT_EQ(tier_->pool().copies_bytes, kChunkSize) << "the other disk is gone";
}

TEST_F(VirtualDiskTest, TierFileIsReadOnlyWhereAllowed) {
  open(64, false);
  const auto file_tier = [&] {
    return std::move(*tier::Tier::open({.memory_bytes_max = kMiB, .file_bytes_max = kMiB},
                                       std::move(*folder_.open("slots", true)),
                                       std::move(*folder_.open("index", true))));
  };
  auto tier = file_tier();
  tier->insert(test_image().chunks[0], tier::Admission::kDemand);
  ASSERT_TRUE(tier->sync());
  tier = file_tier();
  VirtualDisk disk(image::MappingTable::whole(test_image().whole), nullptr, *tier);
  ReadSlices out;

  const auto in_line = disk.try_read({0, 4096}, out, work_, {});
  ASSERT_TRUE(in_line && !*in_line);
  const auto blocking = disk.try_read({0, 4096}, out, work_, {.allow_tier_file = true});

  ASSERT_TRUE(blocking && *blocking);
  EXPECT_EQ(joined(out), image_part({0, 4096}));
  EXPECT_EQ(work_.touches.front().served_from, ServedFrom::kTierFile);
}

TEST_F(VirtualDiskTest, IndexThatLiesAboutASizeIsCorruptNotReadPast) {
  auto lying = std::make_shared<image::Component>(*test_image().whole);
  auto small = std::make_shared<repository::Chunk>();
  small->content = Buffer(100, std::byte{1});
  small->id = sha256(small->content);
  lying->index.chunks[0].id = small->id;
  open(64, false, image::MappingTable::whole(lying));
  tier_->insert(small, tier::Admission::kDemand);
  ReadSlices out;

  const auto served = disk_->try_read({0, 4096}, out, work_, {});

  ASSERT_FALSE(served);
  EXPECT_EQ(served.error().code, ErrorCode::kCorrupt);
  EXPECT_TRUE(out.slices.empty());
}

TEST_F(VirtualDiskTest, GapsOfTheTableReadAsZeroesAndTouchNothing) {
  auto table = image::MappingTable::create(
      3 * kChunkSize, {{{kChunkSize, kChunkSize}, test_image().whole, kChunkSize}});
  open(64, true, std::move(*table));

  EXPECT_EQ(read({kChunkSize - 10, 20}).size(), 20u);
  EXPECT_EQ(read({2 * kChunkSize + 5, 50}), Buffer(50));
  EXPECT_TRUE(work_.touches.empty());
  EXPECT_EQ(
      status({0, 3 * kChunkSize}),
      (std::vector<StatusExtent>{zeroes(kChunkSize), allocated(kChunkSize), zeroes(kChunkSize)}));
}

TEST_F(VirtualDiskTest, AlignedWriteNeedsNoChunk) {
  open(64, true);
  Pins pins;

  EXPECT_TRUE(disk_->prepare_write({4096, 8192}, pins, work_, false));
  const uint64_t tail = round_down(disk_->size_bytes(), 4096);
  EXPECT_TRUE(disk_->prepare_write({tail, disk_->size_bytes() - tail}, pins, work_, false));
  ASSERT_TRUE(disk_->write(4096, Buffer(8192, std::byte{5}), pins, true));

  EXPECT_TRUE(pins.empty());
  EXPECT_EQ(read({4096, 8192}), Buffer(8192, std::byte{5}));
}

TEST_F(VirtualDiskTest, PartialWriteNeedsTheChunksOfItsEnds) {
  open(64, true);
  Pins pins;
  const ByteRange range{kChunkSize - 4096 + 100, kChunkSize};

  ASSERT_FALSE(disk_->prepare_write(range, pins, work_, false));
  EXPECT_EQ(work_.missing.size(), 2u);
  fetch(work_.missing, pins);
  ASSERT_TRUE(disk_->write(range.offset, Buffer(range.length, std::byte{5}), pins, false));

  EXPECT_EQ(read({range.offset - 100, 100}), image_part({range.offset - 100, 100}));
  EXPECT_EQ(read({range.end(), 100}), image_part({range.end(), 100}));
  EXPECT_TRUE(disk_->prepare_write(range, pins, work_, false));
}

TEST_F(VirtualDiskTest, WriteOfABlocksBeginningNeedsItsChunk) {
  open(64, true);
  Pins pins;

  EXPECT_FALSE(disk_->prepare_write({4096, 100}, pins, work_, false));
  EXPECT_EQ(work_.missing.size(), 1u);
  EXPECT_FALSE(disk_->prepare_write({4096, 4196}, pins, work_, false));
  EXPECT_EQ(work_.missing.size(), 1u);
}

TEST_F(VirtualDiskTest, WriteWithoutItsPinFailsAndChangesNothing) {
  open(64, true);

  const Status status = disk_->write(10, Buffer(10), {}, false);

  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(read({0, 4096}), image_part({0, 4096}));
}

TEST_F(VirtualDiskTest, ReadOnlyDiskRefusesWrites) {
  open(64, false);

  EXPECT_EQ(disk_->write(0, Buffer(4096), {}, false).error().code, ErrorCode::kDenied);
  EXPECT_EQ(disk_->trim({0, 4096}, {}, false).error().code, ErrorCode::kDenied);
  EXPECT_TRUE(disk_->flush());
}

TEST_F(VirtualDiskTest, StatusTellsHolesAndJoinsNeighbours) {
  open(64, true);
  ASSERT_TRUE(disk_->trim({kChunkSize, 8192}, {}, false));
  ASSERT_TRUE(disk_->write(2 * kChunkSize, Buffer(4096, std::byte{5}), {}, false));
  const uint64_t size = disk_->size_bytes();

  const std::vector<StatusExtent> expected = {
      allocated(kChunkSize), zeroes(8192), allocated(kChunkSize - 8192 + 4096),
      zeroes(kChunkSize - 4096), allocated(size - 3 * kChunkSize)};
  EXPECT_EQ(status({0, size}), expected);
  EXPECT_EQ(status({0, size}, 2), (std::vector<StatusExtent>{allocated(kChunkSize), zeroes(8192)}));
  EXPECT_EQ(status({kChunkSize + 10, 20}, 1), (std::vector<StatusExtent>{zeroes(20)}));
}

TEST_F(VirtualDiskTest, BuffersAreUsedAgain) {
  open(64, true);
  ASSERT_TRUE(disk_->write(0, Buffer(4096, std::byte{5}), {}, false));
  ReadSlices out;
  ASSERT_TRUE(*disk_->try_read({0, 4096}, out, work_, {}));
  const auto* first = out.slices[0].data();

  out.clear();
  ASSERT_TRUE(*disk_->try_read({0, 4096}, out, work_, {}));

  EXPECT_EQ(out.slices[0].data(), first);
}

// Any operation at any alignment, with a tier too small to hold the image, against a byte array.
class VirtualDiskProperty : public VirtualDiskTest, public testing::WithParamInterface<uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Seeds, VirtualDiskProperty, testing::Range<uint64_t>(1, 11));

TEST_P(VirtualDiskProperty, AgreesWithAByteArray) {
  open(2, true);
  Rng rng(GetParam());
  Buffer model = test_image().content;
  for (int i = 0; i < 150; ++i) {
    const uint64_t length_max = rng.chance(0.5) ? 600 : 3 * kChunkSize / 2;
    const ByteRange range =
        intersect({rng.below(model.size()), rng.between(1, length_max)}, {0, model.size()});
    const auto begin = model.begin() + static_cast<ptrdiff_t>(range.offset);
    const auto end = begin + static_cast<ptrdiff_t>(range.length);
    const bool fua = rng.chance(0.1);
    switch (rng.below(5)) {
      case 0: {
        const Buffer data(range.length, static_cast<std::byte>(i + 1));
        ASSERT_TRUE(disk_->write(range.offset, data, pins_for(range), fua));
        std::ranges::copy(data, begin);
        break;
      }
      case 1:
        ASSERT_TRUE(disk_->write_zeroes(range, rng.chance(0.5), pins_for(range), fua));
        std::fill(begin, end, std::byte{0});
        break;
      case 2:
        ASSERT_TRUE(disk_->trim(range, pins_for(range), fua));
        std::fill(begin, end, std::byte{0});
        break;
      case 3: {
        uint64_t at = range.offset;
        for (const StatusExtent& extent : status(range)) {
          const ByteView part = ByteView(model).subspan(at, extent.length);
          ASSERT_TRUE(!extent.is_zero || all_zero(part));
          at += extent.length;
        }
        ASSERT_EQ(at, range.end());
        break;
      }
      default:
        ASSERT_EQ(read(range), Buffer(begin, end)) << "round " << i;
    }
  }
  EXPECT_EQ(read({0, model.size()}), model);
}

}  // namespace
}  // namespace forerun::disk
