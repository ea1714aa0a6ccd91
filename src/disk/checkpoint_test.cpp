#include <gtest/gtest.h>

#include "core/rng.h"
#include "disk/checkpoint_index.h"
#include "disk/write_tracker.h"

namespace forerun::disk {
namespace {

repository::ChunkRef ref_of(std::string_view content, uint32_t size = repository::kChunkSize) {
  repository::ChunkRef ref;
  ref.id = sha256(as_bytes(content));
  ref.size = size;
  ref.stored_size = 100;
  return ref;
}

CheckpointIndex some_index() {
  CheckpointIndex index;
  index.vm = "web";
  index.number = 7;
  index.created_unix_seconds = 1'700'000'000;
  index.pause_us = 81'000;
  index.stored_bytes = 12345;
  index.record = "{\"name\":\"web\"}";
  index.head = {std::byte{1}, std::byte{2}};
  index.section = 2;
  repository::ChunkRef zero;
  zero.size = repository::kChunkSize;
  index.memory = {
      {"pc.ram", 2 * repository::kChunkSize + 8192, {ref_of("a"), zero, ref_of("b", 8192)}},
      {"empty", 0, {}}};
  index.tail = {std::byte{9}};
  index.disk_bytes = 10 * repository::kChunkSize + 100;
  index.base = sha256(as_bytes("image"));
  index.runs = {{0, 3, BlockState::kData}, {3, 2, BlockState::kZero}, {160, 1, BlockState::kData}};
  index.parts = {{0, ref_of("c")}, {10, ref_of("d", 100)}};
  return index;
}

TEST(CheckpointIndex, IsReadAsItWasWritten) {
  const CheckpointIndex read = parse_checkpoint_index(serialize(some_index())).value();
  EXPECT_EQ(read, some_index());
  int chunks = 0;
  for_each_chunk(read, [&](const repository::ChunkRef&) { ++chunks; });
  EXPECT_EQ(chunks, 4);
}

TEST(CheckpointIndex, DamageIsFound) {
  const Buffer good = serialize(some_index());
  Rng rng(1);
  for (int i = 0; i < 500; ++i) {
    Buffer damaged = good;
    if (rng.chance(0.3)) {
      damaged.resize(rng.below(damaged.size()));
    } else {
      damaged[rng.below(damaged.size())] ^= static_cast<std::byte>(1 + rng.below(255));
    }
    EXPECT_FALSE(parse_checkpoint_index(damaged));
  }
}

// What cannot be of a VM is refused, whatever its checksum says.
TEST(CheckpointIndex, NonsenseIsRefused) {
  const std::vector<std::function<void(CheckpointIndex&)>> changes = {
      [](CheckpointIndex& index) { index.memory[0].used_bytes += 4096; },
      [](CheckpointIndex& index) { index.memory[0].chunks.pop_back(); },
      [](CheckpointIndex& index) { index.memory[0].chunks[0].size = 5; },
      [](CheckpointIndex& index) { index.memory[0].name = std::string(256, 'x'); },
      [](CheckpointIndex& index) { index.runs[1].first = 1; },
      [](CheckpointIndex& index) { index.runs[2].count = 2; },
      [](CheckpointIndex& index) { index.runs[0].state = BlockState::kRemote; },
      [](CheckpointIndex& index) { index.parts[1].number = 0; },
      [](CheckpointIndex& index) { index.parts[1].chunk.size = 101; },
      [](CheckpointIndex& index) { index.parts[1].number = UINT64_MAX / 2; },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    CheckpointIndex index = some_index();
    changes[i](index);
    const auto read = parse_checkpoint_index(serialize(index));
    ASSERT_FALSE(read) << i;
    EXPECT_EQ(read.error().code, ErrorCode::kCorrupt);
  }
}

TEST(WriteTracker, TellsWhatWasWrittenSinceItWasAskedLast) {
  constexpr uint64_t kPart = WriteTracker::kPartBytes;
  WriteTracker tracker(70 * kPart + 5);
  EXPECT_EQ(tracker.take().size(), 71u);
  EXPECT_TRUE(tracker.take().empty());
  tracker.note({kPart - 1, 2});
  tracker.note({70 * kPart, 5});
  tracker.note({64 * kPart, 1});
  tracker.note({5 * kPart, 0});
  const std::vector<uint64_t> written = tracker.take();
  EXPECT_EQ(written, (std::vector<uint64_t>{0, 1, 64, 70}));
  EXPECT_TRUE(tracker.take().empty());
}

}  // namespace
}  // namespace forerun::disk
