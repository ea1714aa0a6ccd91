// A cache of blocks in the simulation: least recently used, and which blocks were prefetched and
// not used yet, and when they come.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

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

  // Returns the block, or null. Valid until the next put().
  Block* find(uint64_t number);
  // Makes the block the most recently used. REQUIRES: find() gave it.
  void touch(const Block& block);
  // Puts a block that is not there, as the most recently used. Returns the one that had to leave.
  std::optional<Block> put(const Block& block);
  size_t size() const { return slot_of_.size(); }
  size_t blocks_max() const { return slots_.size() - 1; }

 private:
  struct Slot {
    Block block;
    uint32_t older = 0, newer = 0;  // slot 0 closes the ring: newer than it is the oldest
  };
  void unlink(uint32_t slot);
  void link_as_newest(uint32_t slot);

  std::vector<Slot> slots_;
  std::unordered_map<uint64_t, uint32_t> slot_of_;
};

}  // namespace forerun::replay
