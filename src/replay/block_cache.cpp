#include "replay/block_cache.h"

#include "core/result.h"

namespace forerun::replay {

BlockCache::BlockCache(size_t blocks_max) : slots_(blocks_max + 1), groups_(blocks_max) {
  FR_ASSERT(blocks_max >= 1 && blocks_max < UINT32_MAX);
}

BlockCache::Block* BlockCache::find(uint64_t number) {
  const Group* group = groups_.find(group_of(number));
  const uint64_t place = number % kGroup;
  return group && (group->here >> place & 1) != 0 ? &slots_[group->slots[place]].block : nullptr;
}

uint64_t BlockCache::which_are_here(uint64_t first, uint32_t count) const {
  uint64_t bits = 0;
  for (uint64_t number = first - first % kGroup; number < first + count; number += kGroup) {
    const Group* group = groups_.find(group_of(number));
    if (!group) continue;
    bits |= number < first ? uint64_t{group->here} >> (first - number)
                           : uint64_t{group->here} << (number - first);
  }
  return count >= 64 ? bits : bits & ((uint64_t{1} << count) - 1);
}

void BlockCache::touch(const Block& block) {
  // Blocks stand at the beginning of their slots.
  const auto slot = static_cast<uint32_t>(reinterpret_cast<const Slot*>(&block) - slots_.data());
  unlink(slot);
  link_as_newest(slot);
}

std::optional<BlockCache::Block> BlockCache::put(const Block& block) {
  auto slot = static_cast<uint32_t>(size_ + 1);
  std::optional<Block> left;
  if (size_ == blocks_max()) {
    slot = slots_[0].newer;
    left = slots_[slot].block;
    unlink(slot);
    erase(left->number);
  }
  slots_[slot].block = block;
  Group& group = groups_.insert(group_of(block.number));
  group.here |= 1u << block.number % kGroup;
  group.slots[block.number % kGroup] = slot;
  ++size_;
  link_as_newest(slot);
  return left;
}

void BlockCache::erase(uint64_t number) {
  Group* group = groups_.find(group_of(number));
  group->here &= ~(1u << number % kGroup);
  if (group->here == 0) groups_.erase(group_of(number));
  --size_;
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
