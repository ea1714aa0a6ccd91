// What two hosts learned of one component, as one history; and the part of it that one disk taught.
#include <algorithm>
#include <map>
#include <optional>

#include "predict/component_history.h"

namespace forerun::predict {
namespace {

using Kind = ComponentHistory::Kind;
using Entry = ComponentHistory::Entry;

// A kind of boots that one or both know, and where.
struct Both {
  Kind kind;
  std::optional<size_t> ours, theirs;
};

std::optional<size_t> find(const std::vector<Kind>& kinds, const Kind& wanted) {
  const auto found = std::find_if(kinds.begin(), kinds.end(), [&](const Kind& kind) {
    return kind.companions == wanted.companions;
  });
  if (found == kinds.end()) return std::nullopt;
  return static_cast<size_t>(found - kinds.begin());
}

// Ours first; of too many, those of the least boots are left out.
std::vector<Both> all_kinds(const std::vector<Kind>& ours, const std::vector<Kind>& theirs,
                            const MergeOptions& options) {
  const float boots_max = std::min(1 / (1 - options.keep), kSequenceBootsMax);
  std::vector<Both> kinds;
  for (size_t k = 0; k < ours.size(); ++k) {
    Both both{ours[k], k, find(theirs, ours[k])};
    if (both.theirs)
      both.kind.boots = std::max(both.kind.boots,
                                 std::min(both.kind.boots + theirs[*both.theirs].boots, boots_max));
    kinds.push_back(std::move(both));
  }
  for (size_t k = 0; k < theirs.size(); ++k)
    if (!find(ours, theirs[k])) kinds.push_back({theirs[k], std::nullopt, k});
  while (kinds.size() > ComponentHistory::kKindsMax)
    kinds.erase(std::min_element(kinds.begin(), kinds.end(), [](const Both& a, const Both& b) {
      return a.kind.boots < b.kind.boots;
    }));
  return kinds;
}

float boots_of(const std::vector<Kind>& kinds, std::optional<size_t> at) {
  return at ? kinds[*at].boots : 0;
}

// The boots that read the block.
float weight_of(const Entry* entry, const std::vector<Kind>& kinds) {
  float weight = 0;
  for (size_t k = 0; entry != nullptr && k < kinds.size(); ++k)
    weight += static_cast<float>(entry->share[k]) / 255 * kinds[k].boots;
  return weight;
}

}  // namespace

void merge_history(ComponentHistory& history, const ComponentHistory& other,
                   const MergeOptions& options) {
  const auto kinds = all_kinds(history.kinds, other.kinds, options);
  std::map<uint64_t, std::pair<const Entry*, const Entry*>> blocks;
  for (const Entry& entry : history.entries) blocks[entry.block].first = &entry;
  for (const Entry& entry : other.entries) blocks[entry.block].second = &entry;
  ComponentHistory merged;
  for (const Both& both : kinds) merged.kinds.push_back(both.kind);
  std::vector<std::pair<float, Entry>> entries;  // with the boots that read it
  for (const auto& [block, known] : blocks) {
    const auto [ours, theirs] = known;
    Entry entry = ours != nullptr ? *ours : *theirs;
    entry.share = {};
    const float our_weight = weight_of(ours, history.kinds);
    const float their_weight = weight_of(theirs, other.kinds);
    if (ours != nullptr && theirs != nullptr && our_weight + their_weight > 0) {
      const float part = their_weight / (our_weight + their_weight);
      entry.rank += (theirs->rank - entry.rank) * part;
      entry.time_s += (theirs->time_s - entry.time_s) * part;
    }
    bool is_common = false;
    for (size_t k = 0; k < kinds.size(); ++k) {
      const float a = boots_of(history.kinds, kinds[k].ours);
      const float b = boots_of(other.kinds, kinds[k].theirs);
      const float read =
          (ours != nullptr && kinds[k].ours ? a * ours->share[*kinds[k].ours] : 0) +
          (theirs != nullptr && kinds[k].theirs ? b * theirs->share[*kinds[k].theirs] : 0);
      if (a + b > 0) entry.share[k] = static_cast<uint8_t>(std::min(255.0f, read / (a + b) + 0.5f));
      is_common = is_common || static_cast<float>(entry.share[k]) >= options.support_min * 255;
    }
    if (is_common) entries.emplace_back(our_weight + their_weight, entry);
  }
  if (entries.size() > options.blocks_max) {
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first > b.first : a.second.block < b.second.block;
    });
    entries.resize(options.blocks_max);
    std::sort(entries.begin(), entries.end(),
              [](const auto& a, const auto& b) { return a.second.block < b.second.block; });
  }
  for (const auto& [weight, entry] : entries) merged.entries.push_back(entry);
  history = std::move(merged);
}

ComponentHistory only_beside(const ComponentHistory& history,
                             const std::vector<ComponentName>& companions) {
  const auto at = find(history.kinds, {companions, 0});
  if (!at) return {};
  ComponentHistory own;
  own.kinds = {history.kinds[*at]};
  for (const Entry& entry : history.entries) {
    if (entry.share[*at] == 0) continue;
    own.entries.push_back({entry.block, entry.rank, entry.time_s, {}});
    own.entries.back().share[0] = entry.share[*at];
  }
  return own;
}

}  // namespace forerun::predict
