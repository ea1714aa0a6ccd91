#include "replay/block_cache.h"

#include "core/result.h"

namespace forerun::replay {

BlockCache::BlockCache(size_t blocks_max) : slots_(blocks_max + 1) {
  FR_ASSERT(blocks_max >= 1 && blocks_max < UINT32_MAX);
  slot_of_.reserve(blocks_max);
}

BlockCache::Block* BlockCache::find(uint64_t number) {
  const auto found = slot_of_.find(number);
  return found == slot_of_.end() ? nullptr : &slots_[found->second].block;
}

void BlockCache::touch(const Block& block) {
  const uint32_t slot = slot_of_.at(block.number);
  unlink(slot);
  link_as_newest(slot);
}

std::optional<BlockCache::Block> BlockCache::put(const Block& block) {
  auto slot = static_cast<uint32_t>(slot_of_.size() + 1);
  std::optional<Block> left;
  if (slot_of_.size() == blocks_max()) {
    slot = slots_[0].newer;
    left = slots_[slot].block;
    unlink(slot);
    slot_of_.erase(left->number);
  }
  slots_[slot].block = block;
  slot_of_[block.number] = slot;
  link_as_newest(slot);
  return left;
}

void BlockCache::unlink(uint32_t slot) {
  slots_[slots_[slot].older].newer = slots_[slot].newer;
  slots_[slots_[slot].newer].older = slots_[slot].older;
}

void BlockCache::link_as_newest(uint32_t slot) {
  slots_[slot].older = slots_[0].older;
  slots_[slot].newer = 0;
  slots_[slots_[0].older].newer = slot;
  slots_[0].older = slot;
}

}  // namespace forerun::replay
