// A cache of blocks in the simulation: which blocks were prefetched and not used yet, and when they
// come. The least recently used leaves, or the one that the tier's own policy chooses.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "predict/block_table.h"
#include "tier/s3fifo.h"

namespace forerun::replay {

enum class Eviction : uint8_t { kLru, kS3Fifo };

// One thread.
class BlockCache {
 public:
  struct Block {
    uint64_t number = 0;
    double ready_us = 0;         // when a prefetched block is here
    bool is_prefetched = false;  // and not used yet
  };
  // REQUIRES: blocks_max ≥ 1.
  explicit BlockCache(size_t blocks_max, Eviction eviction = Eviction::kLru);

  // Returns the block, or null. Valid until the next put().
  Block* find(uint64_t number);
  // Counts a use of the block: it is the most recently used then. REQUIRES: find() gave it.
  void touch(const Block& block);
  // Puts a block that is not there, as the most recently used. Returns the one that had to leave:
  // itself, if a policy does not take it.
  std::optional<Block> put(const Block& block);
  // Returns a bit for each of up to 64 blocks that is there, the lowest for the first.
  uint64_t which_are_here(uint64_t first, uint32_t count) const;
  size_t size() const { return size_; }
  size_t blocks_max() const { return blocks_max_; }

 private:
  struct Slot {
    Block block;
    uint32_t older = 0, newer = 0;  // slot 0 closes the ring: newer than it is the oldest
  };
  // Neighbours, which are asked for together.
  static constexpr uint64_t kGroup = 16;
  struct Group {
    uint32_t here = 0;  // a bit each
    std::array<uint32_t, kGroup> slots{};
  };
  static predict::BlockKey group_of(uint64_t number) { return {ComponentId{0}, number / kGroup}; }
  std::optional<Block> put_first_in(const Block& block);
  void mark(uint64_t number, uint32_t slot);
  void erase(uint64_t number);
  void unlink(uint32_t slot);
  void link_as_newest(uint32_t slot);

  size_t blocks_max_;
  std::unique_ptr<tier::S3Fifo<uint64_t, Block>> fifo_;          // null: LRU
  std::vector<tier::S3Fifo<uint64_t, Block>::Evicted> evicted_;  // scratch
  std::vector<Slot> slots_;
  predict::BlockTable<Group> groups_;
  size_t size_ = 0;
};

}  // namespace forerun::replay
