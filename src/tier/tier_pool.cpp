// How much of the tier's memory there is, and how it is dealt out to shards.
#include <algorithm>

#include "tier/tier_impl.h"

namespace forerun::tier {
namespace {

constexpr uint64_t kChunksPerShardMin = 16;

// Returns part `index` of `total` units dealt out to `parts`.
uint64_t part_of(uint64_t total, uint64_t parts, uint64_t index) {
  return total / parts + (index < total % parts ? 1 : 0);
}

S3FifoOptions level_options(const TierOptions& o, uint64_t bytes_max) {
  // Twice the chunks that fit: as many again are remembered.
  return {.bytes_max = bytes_max,
          .small_ratio = o.small_ratio,
          .probation_ratio = o.probation_ratio,
          .entries_expected = 2 * bytes_max / repository::kChunkSize};
}

}  // namespace

Tier::Impl::Impl(const TierOptions& o, std::unique_ptr<SlotFile> slot_file, uint64_t slot_count)
    : file(std::move(slot_file)), queue(o.write_back_chunks_max) {
  uint64_t chunks_min = std::max<uint64_t>(o.memory_bytes_max / repository::kChunkSize, 1);
  if (slot_count > 0) chunks_min = std::min(chunks_min, slot_count);
  const uint64_t count = std::clamp<uint64_t>(chunks_min / kChunksPerShardMin, 1, o.shards);
  const uint64_t memory_pages = o.memory_bytes_max / kChargeMin;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t memory_bytes = part_of(memory_pages, count, i) * kChargeMin +
                                  (i == 0 ? o.memory_bytes_max % kChargeMin : 0);
    const uint64_t file_bytes = part_of(slot_count, count, i) * kSlotSize;
    shards.push_back(
        std::make_unique<Shard>(level_options(o, memory_bytes), level_options(o, file_bytes)));
  }
}

}  // namespace forerun::tier
