#include "predict/replay.h"

#include <algorithm>

namespace forerun::predict {
namespace {

constexpr float kKnownWeight = 0.03f;   // about the last 30 first touches of a component
constexpr float kDivergedShare = 0.5f;  // below: this boot goes its own way
constexpr uint16_t kContextsPerState = 8;

}  // namespace

ReplayModel::ReplayModel(Options options, std::shared_ptr<ReplayHistory> history,
                         std::vector<ComponentId> components, Priors priors)
    : options_(options),
      history_(std::move(history)),
      disk_(components),
      priors_(std::move(priors)),
      seen_(options.blocks_max),
      walk_(options.walk,
            [this](ComponentId component, const BlockSequence& sequence,
                   const SequenceEntry& entry) { return word(component, sequence, entry); }) {
  for (const ComponentId component : components) {
    if (!part_of(component)) walk_.add(component, add_part(component));
  }
}

std::shared_ptr<const BlockSequence> ReplayModel::add_part(ComponentId component) {
  auto sequence = history_->foresee(component, disk_, prior_of(component));
  const bool is_known = history_->knows(component);
  parts_.push_back({.component = component,
                    .is_known = is_known,
                    .is_translated = sequence != nullptr && !is_known});
  return sequence;
}

const BlockSequence* ReplayModel::prior_of(ComponentId component) const {
  const auto prior = priors_.find(component);
  return prior == priors_.end() ? nullptr : prior->second.get();
}

const ReplayModel::Part* ReplayModel::part_of(ComponentId component) const {
  for (const Part& part : parts_) {
    if (part.component == component) return &part;
  }
  return nullptr;
}

ReplayModel::Part* ReplayModel::part_of(ComponentId component) {
  return const_cast<Part*>(std::as_const(*this).part_of(component));
}

SequenceWalk::Word ReplayModel::word(ComponentId component, const BlockSequence& sequence,
                                     const SequenceEntry& entry) const {
  const Part* part = part_of(component);
  const float known_share = part ? part->known_share : kKnewFirst;
  const bool diverged = known_share < kDivergedShare;
  const auto boots =
      static_cast<uint16_t>(std::min(sequence.boots, static_cast<float>(kContextsPerState - 1)));
  const float probability = std::clamp(entry.support, 0.02f, 0.98f);
  const int state = (diverged ? 1 : 0) + (part && part->is_translated ? 2 : 0);
  return {.confidence = diverged ? probability * known_share / kDivergedShare : probability,
          .context = static_cast<uint16_t>(boots + state * kContextsPerState)};
}

void ReplayModel::on_start(Time now, std::vector<Candidate>& out) {
  learning_ = true;
  walk_.start(now, out);
}

void ReplayModel::record(const trace::Access& access, Part& part) {
  const auto time_s = static_cast<float>(to_seconds(access.at - walk_.started()));
  for (uint32_t i = 0; i < access.block_count; ++i) {
    const BlockKey key{access.component, access.first_block + i};
    if (seen_.full() || seen_.contains(key)) continue;
    seen_.insert(key) = 1;
    part.boot.push_back({key.block, time_s});
  }
}

void ReplayModel::on_access(const trace::Access& access, std::vector<Candidate>& out) {
  if (access.op != trace::Op::kRead || !learning_) return;
  if (access.at - walk_.started() > options_.learning_window) {
    on_end(access.at);
    return;
  }
  Part* part = part_of(access.component);
  if (!part) {
    if (parts_.size() >= 64) return;
    // A component nobody announced: its whole history becomes due with its first touch.
    const auto sequence = add_part(access.component);
    part = &parts_.back();
    walk_.add_late(access.component, sequence, access.at, out);
  }
  if (walk_.has(access.component)) {
    for (uint32_t i = 0; i < access.block_count; ++i) {
      const BlockKey key{access.component, access.first_block + i};
      if (seen_.contains(key)) continue;
      const bool is_known = walk_.knows(key.component, key.block);
      part->known_share += ((is_known ? 1.0f : 0.0f) - part->known_share) * kKnownWeight;
      walk_.touch(key.component, key.block, access.at, out);
    }
  }
  record(access, *part);
}

void ReplayModel::on_end(Time now) {
  if (!learning_) return;
  learning_ = false;
  const auto observed_s = static_cast<float>(to_seconds(now - walk_.started()));
  for (Part& part : parts_) {
    history_->merge(part.component, disk_, part.boot, observed_s, prior_of(part.component));
    part.boot = {};
  }
  seen_.clear();
}

float ReplayModel::coverage(ComponentId component) const {
  const Part* part = part_of(component);
  return learning_ && part && part->is_known ? std::min(part->known_share, 0.99f) : 0;
}

bool ReplayModel::has_seen(ComponentId component) const {
  const Part* part = part_of(component);
  return part && (part->is_known || part->is_translated);
}

size_t ReplayModel::state_bytes() const {
  size_t bytes = seen_.state_bytes() + walk_.state_bytes();
  for (const Part& part : parts_) bytes += sizeof part + part.boot.capacity() * sizeof(FirstTouch);
  return bytes;
}

}  // namespace forerun::predict
