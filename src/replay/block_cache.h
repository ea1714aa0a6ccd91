// A cache of blocks in the simulation: least recently used, and which blocks were prefetched and
// not used yet, and when they come.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "predict/block_table.h"

namespace forerun::replay {

// One thread.
class BlockCache {
 public:
  struct Block {
    uint64_t number = 0;
    double ready_us = 0;         // when a prefetched block is here
    bool is_prefetched = false;  // and not used yet
  };
  // REQUIRES: blocks_max ≥ 1.
  explicit BlockCache(size_t blocks_max);

  // Returns the block, or null. Valid until the next put() of it.
  Block* find(uint64_t number);
  // Makes the block the most recently used. REQUIRES: find() gave it.
  void touch(const Block& block);
  // Puts a block that is not there, as the most recently used. Returns the one that had to leave.
  std::optional<Block> put(const Block& block);
  // Returns a bit for each of up to 64 blocks that is there, the lowest for the first.
  uint64_t which_are_here(uint64_t first, uint32_t count) const;
  size_t size() const { return size_; }
  size_t blocks_max() const { return slots_.size() - 1; }

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
  void erase(uint64_t number);
  void unlink(uint32_t slot);
  void link_as_newest(uint32_t slot);

  std::vector<Slot> slots_;
  predict::BlockTable<Group> groups_;
  size_t size_ = 0;
};

}  // namespace forerun::replay
