// ReplayHistory: merging boots.
#include <algorithm>

#include "predict/replay.h"

namespace forerun::predict {

ReplayHistory::ReplayHistory() : ReplayHistory(Options{}) {}
ReplayHistory::ReplayHistory(Options options) : options_(options) {}

std::shared_ptr<const BlockSequence> ReplayHistory::sequence(ComponentId component) const {
  const std::lock_guard lock(mutex_);
  const auto known = known_.find(component);
  return known == known_.end() ? nullptr : known->second.sequence;
}

// Weights: every boot so far counts `keep` of what it did, the new one 1. Support is a weighted
// share; rank and time are means over the boots that touched the block, so two boots merged in
// either order differ only by their weights.
void ReplayHistory::merge(ComponentId component, const std::vector<FirstTouch>& boot,
                          float observed_s) {
  if (boot.empty()) return;
  const std::lock_guard lock(mutex_);
  const auto known = known_.find(component);
  const float old_boots = known == known_.end() ? 0 : known->second.sequence->boots * options_.keep;
  const float boots = std::min(old_boots + 1, kSequenceBootsMax);
  std::map<uint64_t, SequenceEntry> merged;
  if (known != known_.end()) {
    for (SequenceEntry entry : known->second.sequence->entries) {
      if (entry.time_s <= observed_s) entry.support *= old_boots / boots;
      merged.emplace(entry.block, entry);
    }
  }
  float rank = 0;  // counts distinct blocks
  std::map<uint64_t, bool> in_boot;
  for (const FirstTouch& touch : boot) {
    if (!in_boot.emplace(touch.block, true).second || in_boot.size() > options_.blocks_max)
      continue;
    SequenceEntry& entry = merged[touch.block];
    const float old_weight = entry.support * boots;
    const float share = 1 / (old_weight + 1);
    entry.block = touch.block;
    entry.rank += (rank - entry.rank) * share;
    entry.time_s += (std::clamp(touch.time_s, 0.0f, kSequenceTimeMaxS) - entry.time_s) * share;
    entry.support = std::min(1.0f, (old_weight + 1) / boots);
    rank += 1;
  }
  std::vector<SequenceEntry> entries;
  for (const auto& [block, entry] : merged) {
    if (entry.support >= options_.support_min) entries.push_back(entry);
  }
  if (entries.size() > options_.blocks_max) {
    std::sort(entries.begin(), entries.end(), [](const SequenceEntry& a, const SequenceEntry& b) {
      return a.support != b.support ? a.support > b.support : a.block < b.block;
    });
    entries.resize(options_.blocks_max);
  }
  put(component, make_block_sequence(boots, std::move(entries)));
}

void ReplayHistory::put(ComponentId component, std::shared_ptr<const BlockSequence> sequence) {
  known_[component] = {std::move(sequence), ++merges_};
  if (known_.size() <= options_.components_max) return;
  const auto oldest = std::min_element(
      known_.begin(), known_.end(),
      [](const auto& a, const auto& b) { return a.second.merged_at < b.second.merged_at; });
  known_.erase(oldest);
}

void ReplayHistory::forget(ComponentId component) {
  const std::lock_guard lock(mutex_);
  known_.erase(component);
}

Buffer ReplayHistory::save(ComponentId component) const {
  const auto known = sequence(component);
  return known ? serialize(*known) : Buffer{};
}

Status ReplayHistory::load(ComponentId component, ByteView saved) {
  FR_TRY(auto sequence, parse_block_sequence(saved, options_.blocks_max));
  const std::lock_guard lock(mutex_);
  put(component, std::move(sequence));
  return {};
}

size_t ReplayHistory::state_bytes() const {
  const std::lock_guard lock(mutex_);
  size_t bytes = 0;
  for (const auto& [component, known] : known_)
    bytes +=
        sizeof known + known.sequence->entries.size() * (sizeof(SequenceEntry) + sizeof(uint32_t));
  return bytes;
}

}  // namespace forerun::predict
