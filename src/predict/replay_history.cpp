// ReplayHistory: the histories of a host's components.
#include <algorithm>

#include "predict/meaning.h"
#include "predict/replay.h"

namespace forerun::predict {

ReplayHistory::ReplayHistory() : ReplayHistory(Options{}) {}
ReplayHistory::ReplayHistory(Options options, NameOf name_of)
    : options_(options), name_of_(std::move(name_of)) {}
ReplayHistory::ReplayHistory(Options options, NameOf name_of, std::shared_ptr<ReplayHistory> common,
                             IsShared is_shared)
    : options_(options),
      name_of_(std::move(name_of)),
      common_(std::move(common)),
      is_shared_(std::move(is_shared)) {}

ReplayHistory::HistoryPtr ReplayHistory::find(ComponentId component) const {
  if (is_common(component)) return common_->find(component);
  const std::lock_guard lock(mutex_);
  const auto known = known_.find(component);
  return known == known_.end() ? nullptr : known->second.history;
}

ComponentName ReplayHistory::name(ComponentId component) const {
  // Without names they are told apart within this process.
  return name_of_ ? name_of_(component) : ComponentName{component.value} + 1;
}

std::vector<ComponentName> ReplayHistory::companions(ComponentId component,
                                                     std::span<const ComponentId> disk) const {
  std::vector<ComponentName> names;
  for (const ComponentId other : disk) {
    if (other == component) continue;
    const ComponentName of_other = name(other);
    if (of_other != 0 && names.size() < ComponentHistory::kCompanionsMax) names.push_back(of_other);
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

// What a boot reads of a companion itself tells how much it asks of the others: a database server
// of 250 chunks more likely than a web server of 15. Of one that is not on the disk it is not
// known.
WeightOf ReplayHistory::weights(std::span<const ComponentId> disk) const {
  constexpr double kUnknown = 40;  // chunks; services of Debian: 10 to 400
  constexpr double kLeast = 5;
  std::map<ComponentName, double> known;
  for (const ComponentId component : disk) {
    const auto history = find(component);
    if (history) known[name(component)] = static_cast<double>(history->entries.size()) + kLeast;
  }
  return [known = std::move(known)](ComponentName companion) {
    const auto found = known.find(companion);
    return found == known.end() ? kUnknown : found->second;
  };
}

// Whether every boot of the other components had it beside them.
bool ReplayHistory::is_everywhere(ComponentId component) const {
  const auto others = all();
  const ComponentName its_name = name(component);
  return std::all_of(others.begin(), others.end(), [&](const auto& other) {
    if (other.first == component || name(other.first) == 0) return true;
    const auto& kinds = other.second->kinds;
    return std::all_of(kinds.begin(), kinds.end(), [&](const ComponentHistory::Kind& kind) {
      return std::binary_search(kind.companions.begin(), kind.companions.end(), its_name);
    });
  });
}

std::vector<std::pair<ComponentId, ReplayHistory::HistoryPtr>> ReplayHistory::all() const {
  std::vector<std::pair<ComponentId, HistoryPtr>> all;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [component, known] : known_)
      if (!is_common(component)) all.emplace_back(component, known.history);
  }
  if (common_ == nullptr) return all;
  for (auto& known : common_->all())
    if (is_shared_(known.first)) all.push_back(std::move(known));
  return all;
}

bool ReplayHistory::knows(ComponentId component) const { return find(component) != nullptr; }

float ReplayHistory::boots(ComponentId component) const {
  const auto history = find(component);
  return history ? history->boots() : 0;
}

std::shared_ptr<const BlockSequence> ReplayHistory::foresee(ComponentId component,
                                                            std::span<const ComponentId> disk,
                                                            const BlockSequence* prior) const {
  const auto weight_of = weights(disk);
  if (const auto history = find(component))
    return predict::foresee(*history, companions(component, disk), prior, weight_of,
                            is_everywhere(component));
  const auto names = prior && !prior->meanings.empty() ? by_name() : nullptr;
  if (!names) return nullptr;
  return blocks_of_names(*predict::foresee(*names, companions(component, disk), nullptr, weight_of),
                         prior->meanings);
}

ReplayHistory::HistoryPtr ReplayHistory::by_name() const {
  const std::lock_guard lock(mutex_);
  return by_name_;
}

bool ReplayHistory::knows_meanings() const { return by_name() != nullptr; }

void ReplayHistory::merge(ComponentId component, std::span<const ComponentId> disk,
                          const std::vector<FirstTouch>& boot, float observed_s,
                          const BlockSequence* prior) {
  if (boot.empty()) return;
  if (is_common(component)) return common_->merge(component, disk, boot, observed_s, prior);
  const auto beside = companions(component, disk);
  const auto names = prior ? touches_by_name(boot, prior->meanings) : std::vector<FirstTouch>{};
  const std::lock_guard lock(mutex_);
  if (!names.empty()) {
    auto merged = by_name_ ? std::make_shared<ComponentHistory>(*by_name_)
                           : std::make_shared<ComponentHistory>();
    merge_boot(*merged, beside, names, observed_s, options_.merge);
    by_name_ = std::move(merged);
  }
  const auto known = known_.find(component);
  auto merged = known == known_.end() ? std::make_shared<ComponentHistory>()
                                      : std::make_shared<ComponentHistory>(*known->second.history);
  merge_boot(*merged, beside, boot, observed_s, options_.merge);
  put(component, std::move(merged));
}

void ReplayHistory::put(ComponentId component, HistoryPtr history) {
  known_[component] = {std::move(history), ++merges_};
  if (known_.size() <= options_.components_max) return;
  const auto oldest = std::min_element(
      known_.begin(), known_.end(),
      [](const auto& a, const auto& b) { return a.second.merged_at < b.second.merged_at; });
  known_.erase(oldest);
}

void ReplayHistory::forget(ComponentId component) {
  if (is_common(component)) return common_->forget(component);
  const std::lock_guard lock(mutex_);
  known_.erase(component);
}

Buffer ReplayHistory::save(ComponentId component) const {
  const auto history = find(component);
  return history ? serialize(*history) : Buffer{};
}

Status ReplayHistory::load(ComponentId component, ByteView saved) {
  if (is_common(component)) return common_->load(component, saved);
  FR_TRY(auto history, parse_component_history(saved, options_.merge.blocks_max));
  const std::lock_guard lock(mutex_);
  put(component, std::make_shared<const ComponentHistory>(std::move(history)));
  return {};
}

Buffer ReplayHistory::save_of_disk(ComponentId component, std::span<const ComponentId> disk) const {
  const auto history = find(component);
  if (!history) return {};
  const auto own = only_beside(*history, companions(component, disk));
  return own.kinds.empty() ? Buffer{} : serialize(own);
}

Status ReplayHistory::merge_saved(ComponentId component, ByteView saved) {
  FR_TRY(auto merged, parse_component_history(saved, options_.merge.blocks_max));
  const std::lock_guard lock(mutex_);
  if (const auto known = known_.find(component); known != known_.end()) {
    ComponentHistory both = *known->second.history;
    merge_history(both, merged, options_.merge);
    merged = std::move(both);
  }
  put(component, std::make_shared<const ComponentHistory>(std::move(merged)));
  return {};
}

Buffer ReplayHistory::save_meanings() const {
  const auto names = by_name();
  return names ? serialize(*names) : Buffer{};
}

Status ReplayHistory::load_meanings(ByteView saved) {
  FR_TRY(auto history, parse_component_history(saved, options_.merge.blocks_max));
  const std::lock_guard lock(mutex_);
  by_name_ = std::make_shared<const ComponentHistory>(std::move(history));
  return {};
}

size_t ReplayHistory::state_bytes() const {
  const auto size_of = [](const ComponentHistory& history) {
    size_t bytes = sizeof history + history.entries.size() * sizeof(ComponentHistory::Entry);
    for (const auto& kind : history.kinds)
      bytes += sizeof kind + kind.companions.size() * sizeof(ComponentName);
    return bytes;
  };
  const std::lock_guard lock(mutex_);
  size_t bytes = by_name_ ? size_of(*by_name_) : 0;
  for (const auto& [component, known] : known_) bytes += sizeof known + size_of(*known.history);
  return bytes;
}

}  // namespace forerun::predict
