#include "replay/block_cache.h"

#include "core/result.h"

namespace forerun::replay {

BlockCache::BlockCache(size_t blocks_max, Eviction eviction)
    : blocks_max_(blocks_max), groups_(blocks_max) {
  FR_ASSERT(blocks_max >= 1 && blocks_max < UINT32_MAX);
  if (eviction == Eviction::kS3Fifo)
    fifo_ = std::make_unique<tier::S3Fifo<uint64_t, Block>>(
        tier::S3FifoOptions{.bytes_max = blocks_max, .entries_expected = blocks_max});
  else
    slots_.resize(blocks_max + 1);
}

BlockCache::Block* BlockCache::find(uint64_t number) {
  if (fifo_) return fifo_->peek(number);
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
  if (fifo_) {
    fifo_->use(block.number);
    return;
  }
  // Blocks stand at the beginning of their slots.
  const auto slot = static_cast<uint32_t>(reinterpret_cast<const Slot*>(&block) - slots_.data());
  unlink(slot);
  link_as_newest(slot);
}

std::optional<BlockCache::Block> BlockCache::put(const Block& block) {
  if (fifo_) return put_first_in(block);
  auto slot = static_cast<uint32_t>(size_ + 1);
  std::optional<Block> left;
  if (size_ == blocks_max()) {
    slot = slots_[0].newer;
    left = slots_[slot].block;
    unlink(slot);
    erase(left->number);
  }
  slots_[slot].block = block;
  mark(block.number, slot);
  link_as_newest(slot);
  return left;
}

// All blocks are of one size, so at most one leaves.
std::optional<BlockCache::Block> BlockCache::put_first_in(const Block& block) {
  evicted_.clear();
  const bool is_in = fifo_->insert(
      block.number, 1, block,
      block.is_prefetched ? tier::Admission::kPrefetch : tier::Admission::kDemand, evicted_);
  for (const auto& left : evicted_) erase(left.id);
  if (!is_in) return block;
  mark(block.number, 0);
  return evicted_.empty() ? std::nullopt : std::optional<Block>(evicted_.front().value);
}

void BlockCache::mark(uint64_t number, uint32_t slot) {
  Group& group = groups_.insert(group_of(number));
  group.here |= 1u << number % kGroup;
  group.slots[number % kGroup] = slot;
  ++size_;
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
