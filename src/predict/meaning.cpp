#include "predict/meaning.h"

#include <algorithm>
#include <set>

namespace forerun::predict {
namespace {

constexpr float kProbabilityMin = 0.05f;  // below: not worth a word
// Of a long file's content or many records mostly one place is read: of what stands at the chunk's
// other places, more tells no more. 8 KiB.
constexpr uint8_t kAmountMax = 32;
constexpr float kTellsTime = 0.5f;  // names this likely, of the block's likeliest, say when

// Returns the meanings of one block.
std::span<const Meaning> of_block(std::span<const Meaning> meanings, uint64_t block) {
  const auto [first, last] = std::ranges::equal_range(meanings, block, {}, &Meaning::block);
  return {first, last};
}

}  // namespace

std::vector<FirstTouch> touches_by_name(std::span<const FirstTouch> boot,
                                        std::span<const Meaning> meanings) {
  std::vector<FirstTouch> touches;
  std::set<uint32_t> known;
  for (const FirstTouch& touch : boot) {
    for (const Meaning& meaning : of_block(meanings, touch.block))
      if (known.insert(meaning.name).second) touches.push_back({meaning.name, touch.time_s});
  }
  return touches;
}

std::shared_ptr<const BlockSequence> blocks_of_names(const BlockSequence& names,
                                                     std::span<const Meaning> meanings) {
  std::vector<SequenceEntry> entries;
  while (!meanings.empty()) {
    const auto here = of_block(meanings, meanings.front().block);
    meanings = meanings.subspan(here.size());
    float amount = 0, read = 0, likeliest = 0;
    for (const Meaning& meaning : here) {
      const auto index = names.find(meaning.name);
      const float support = index ? names.entries[*index].support : 0;
      const auto weight = static_cast<float>(std::min(meaning.amount, kAmountMax));
      amount += weight;
      read += weight * support;
      likeliest = std::max(likeliest, support);
    }
    if (read < kProbabilityMin * amount) continue;
    const SequenceEntry* first = nullptr;
    for (const Meaning& meaning : here) {
      const auto index = names.find(meaning.name);
      if (!index || names.entries[*index].support < kTellsTime * likeliest) continue;
      const SequenceEntry& entry = names.entries[*index];
      if (!first || entry.time_s < first->time_s) first = &entry;
    }
    entries.push_back({here.front().block, read / amount, first->rank, first->time_s});
  }
  if (entries.empty()) return nullptr;
  return make_block_sequence(names.boots, std::move(entries));
}

}  // namespace forerun::predict
