#include "predict/replay.h"

#include <algorithm>

namespace forerun::predict {
namespace {

// Prior of "a block of an earlier boot is read in this one": 1 boot says 0.95, once of two 0.63,
// once of five 0.32. Measured repeatability of first touches over boots is 0.99.
constexpr float kPriorYes = 0.9f;
constexpr float kPriorNo = 0.1f;
constexpr float kKnownWeight = 0.03f;   // about the last 30 first touches
constexpr float kDivergedShare = 0.5f;  // below: this boot goes its own way
constexpr uint16_t kContextsPerState = 8;

}  // namespace

ReplayModel::ReplayModel(Options options, std::shared_ptr<ReplayHistory> history,
                         std::vector<ComponentId> components)
    : options_(options),
      history_(std::move(history)),
      seen_(options.blocks_max),
      walk_(options.walk, [this](const BlockSequence& sequence, const SequenceEntry& entry) {
        return word(sequence, entry);
      }) {
  for (const ComponentId component : components) {
    if (part_of(component)) continue;
    parts_.push_back({.component = component, .boot = {}});
    walk_.add(component, history_->sequence(component));
  }
}

ReplayModel::Part* ReplayModel::part_of(ComponentId component) {
  for (Part& part : parts_) {
    if (part.component == component) return &part;
  }
  return nullptr;
}

SequenceWalk::Word ReplayModel::word(const BlockSequence& sequence,
                                     const SequenceEntry& entry) const {
  const bool diverged = known_share_ < kDivergedShare;
  const float share =
      (entry.support * sequence.boots + kPriorYes) / (sequence.boots + kPriorYes + kPriorNo);
  const auto boots =
      static_cast<uint16_t>(std::min(sequence.boots, static_cast<float>(kContextsPerState - 1)));
  return {.confidence = diverged ? share * known_share_ / kDivergedShare : share,
          .context = static_cast<uint16_t>(boots + (diverged ? kContextsPerState : 0))};
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
    parts_.push_back({.component = access.component, .boot = {}});
    part = &parts_.back();
    walk_.add_late(access.component, history_->sequence(access.component), access.at, out);
  }
  if (walk_.has(access.component)) {
    for (uint32_t i = 0; i < access.block_count; ++i) {
      const BlockKey key{access.component, access.first_block + i};
      if (seen_.contains(key)) continue;
      const bool is_known = walk_.knows(key.component, key.block);
      known_share_ += ((is_known ? 1.0f : 0.0f) - known_share_) * kKnownWeight;
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
    history_->merge(part.component, part.boot, observed_s);
    part.boot = {};
  }
  seen_.clear();
}

float ReplayModel::coverage() const {
  return learning_ && !walk_.is_empty() ? std::min(known_share_, 0.99f) : 0;
}

size_t ReplayModel::state_bytes() const {
  size_t bytes = seen_.state_bytes() + walk_.state_bytes();
  for (const Part& part : parts_) bytes += sizeof part + part.boot.capacity() * sizeof(FirstTouch);
  return bytes;
}

}  // namespace forerun::predict
