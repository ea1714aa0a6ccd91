// For tests: chunks by number, and a tier over two fake disks that survive it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "core/codec.h"
#include "tier/fake_file.h"
#include "tier/slot_file.h"
#include "tier/tier.h"

namespace forerun::tier {

// Returns a chunk whose content, and so its id, follows from `number`.
inline repository::ChunkPtr chunk_of(uint64_t number, size_t size = repository::kChunkSize) {
  ByteWriter writer;
  writer.u64(number);
  Buffer content = writer.take();
  content.resize(size, static_cast<std::byte>(number));
  const ChunkId id = sha256(content);
  return std::make_shared<const repository::Chunk>(repository::Chunk{id, std::move(content)});
}

inline std::vector<repository::ChunkPtr> chunks_of(size_t count,
                                                   size_t size = repository::kChunkSize) {
  std::vector<repository::ChunkPtr> chunks;
  for (size_t i = 0; i < count; ++i) chunks.push_back(chunk_of(i, size));
  return chunks;
}

class TierFixture : public testing::Test {
 protected:
  static constexpr uint64_t kChunk = repository::kChunkSize;

  static TierOptions options(uint64_t memory_chunks, uint64_t file_chunks) {
    return {.memory_bytes_max = memory_chunks * kChunk,
            .file_bytes_max = file_chunks * kChunk,
            .shards = 1};
  }
  void open(const TierOptions& tier_options) {
    tier_.reset();
    auto tier = Tier::open(tier_options, std::make_unique<FakeFile>(data_),
                           std::make_unique<FakeFile>(index_));
    ASSERT_TRUE(tier) << tier.error().message;
    tier_ = std::move(*tier);
    tier_->on_evicted_unused([this](const ChunkId& id) { unused_.push_back(id); });
  }
  void open(uint64_t memory_chunks, uint64_t file_chunks) {
    open(options(memory_chunks, file_chunks));
  }
  // The tier gets a copy: the test's own chunk is not one that a read holds.
  static repository::ChunkPtr copy_of(const repository::ChunkPtr& chunk) {
    return std::make_shared<const repository::Chunk>(*chunk);
  }
  void demand(const repository::ChunkPtr& chunk) {
    tier_->insert(copy_of(chunk), Admission::kDemand);
  }
  void prefetch(const repository::ChunkPtr& chunk) {
    tier_->insert(copy_of(chunk), Admission::kPrefetch);
  }
  void write_all() { ASSERT_TRUE(tier_->write_back(SIZE_MAX)); }
  // Returns where a find gave the right content, or kNone.
  Level found(const repository::ChunkPtr& chunk) {
    Level level = Level::kNone;
    const repository::ChunkPtr got = tier_->find(chunk->id, &level);
    EXPECT_EQ(got != nullptr, level != Level::kNone);
    if (got != nullptr) {
      EXPECT_EQ(got->id, chunk->id);
      EXPECT_EQ(got->content, chunk->content);
    }
    return level;
  }

  const std::shared_ptr<FakeDisk> data_ = std::make_shared<FakeDisk>();
  const std::shared_ptr<FakeDisk> index_ = std::make_shared<FakeDisk>();
  std::unique_ptr<Tier> tier_;
  std::vector<ChunkId> unused_;  // what on_evicted_unused was told
};

}  // namespace forerun::tier
