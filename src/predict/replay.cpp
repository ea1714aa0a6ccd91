#include "predict/replay.h"

#include <algorithm>
#include <cmath>

namespace forerun::predict {
namespace {

// Prior of "a block of an earlier boot is read in this one": 1 boot says 0.95, once of two 0.63,
// once of five 0.32. Measured repeatability of first touches over boots is 0.99.
constexpr float kPriorYes = 0.9f;
constexpr float kPriorNo = 0.1f;
constexpr uint32_t kRunMax = 256;       // blocks of one candidate
constexpr float kSameSupport = 0.05f;   // runs join over differences up to this …
constexpr Nanos kSameDue = 250ms;       // … and this
constexpr double kPaceWeight = 0.05;    // of one touch; about the last 20 count
constexpr float kKnownWeight = 0.03f;   // about the last 30 first touches
constexpr float kDivergedShare = 0.5f;  // below: this boot goes its own way
constexpr uint16_t kContextsPerState = 8;

}  // namespace

ReplayModel::ReplayModel(Options options, std::shared_ptr<ReplayHistory> history,
                         std::vector<ComponentId> components)
    : options_(options), history_(std::move(history)), seen_(options.blocks_max) {
  for (const ComponentId component : components) {
    if (part_of(component)) continue;
    parts_.push_back({.component = component, .sequence = history_->sequence(component)});
    if (parts_.back().sequence)
      parts_.back().touched.resize(parts_.back().sequence->entries.size());
  }
}

ReplayModel::Part* ReplayModel::part_of(ComponentId component) {
  for (Part& part : parts_) {
    if (part.component == component) return &part;
  }
  return nullptr;
}

float ReplayModel::confidence(const ReplaySequence& sequence, const ReplayEntry& entry) const {
  const float share =
      (entry.support * sequence.boots + kPriorYes) / (sequence.boots + kPriorYes + kPriorNo);
  return known_share_ < kDivergedShare ? share * known_share_ / kDivergedShare : share;
}

uint16_t ReplayModel::context(const ReplaySequence& sequence) const {
  const auto boots =
      static_cast<uint16_t>(std::min(sequence.boots, static_cast<float>(kContextsPerState - 1)));
  return static_cast<uint16_t>(boots + (known_share_ < kDivergedShare ? kContextsPerState : 0));
}

void ReplayModel::emit(const Part& part, uint32_t index, Time due,
                       std::vector<Candidate>& out) const {
  const ReplayEntry& entry = part.sequence->entries[index];
  const float said = confidence(*part.sequence, entry);
  if (!out.empty()) {
    Candidate& last = out.back();
    if (last.component == part.component && last.first_block + last.block_count == entry.block &&
        last.block_count < kRunMax && std::abs(last.confidence - said) < kSameSupport &&
        due - last.due < kSameDue) {
      ++last.block_count;
      return;
    }
  }
  out.push_back({part.component, entry.block, 1, said, context(*part.sequence), due});
}

void ReplayModel::on_start(Time now, std::vector<Candidate>& out) {
  started_ = now;
  learning_ = true;
  struct Planned {
    Time due;
    uint32_t part, index;
  };
  std::vector<Planned> plan;
  for (uint32_t p = 0; p < parts_.size(); ++p) {
    if (!parts_[p].sequence) continue;
    Time due = now;  // by rank; a time that runs backwards does not reorder a component's sequence
    for (uint32_t i = 0; i < parts_[p].sequence->entries.size(); ++i) {
      due = std::max(
          due, now + from_seconds(static_cast<double>(parts_[p].sequence->entries[i].time_s)));
      plan.push_back({due, p, i});
    }
  }
  std::sort(plan.begin(), plan.end(), [](const Planned& a, const Planned& b) {
    return std::tie(a.due, a.part, a.index) < std::tie(b.due, b.part, b.index);
  });
  for (const Planned& next : plan) emit(parts_[next.part], next.index, next.due, out);
}

void ReplayModel::adapt_pace(const ReplayEntry& entry, Time now) {
  const double elapsed = to_seconds(now - started_);
  if (entry.time_s < 0.2f || elapsed <= 0) return;  // too early to tell
  const double ratio = std::clamp(elapsed / static_cast<double>(entry.time_s), 0.05, 20.0);
  pace_ += (ratio - pace_) * kPaceWeight;
}

// The guest touched entry `index`: keeps the place, and after a jump says again, with an earlier
// due, what follows.
void ReplayModel::follow(Part& part, uint32_t index, Time now, std::vector<Candidate>& out) {
  const auto& entries = part.sequence->entries;
  part.touched[index] = true;
  const uint32_t from = part.position;
  const uint32_t off = index > from ? index - from : from - index;
  if (off <= options_.jump_blocks) {
    part.position = std::max(from, index + 1);
    return;
  }
  part.position = index + 1;
  const double here = static_cast<double>(entries[index].time_s);
  uint32_t said = 0;
  for (uint32_t i = index + 1; i < entries.size() && said < options_.ahead_blocks; ++i) {
    if (part.touched[i]) continue;
    const double after = std::max(0.0, static_cast<double>(entries[i].time_s) - here);
    emit(part, i, now + from_seconds(after * pace_), out);
    ++said;
  }
}

void ReplayModel::record(const trace::Access& access, Part& part) {
  const auto time_s = static_cast<float>(to_seconds(access.at - started_));
  for (uint32_t i = 0; i < access.block_count; ++i) {
    const BlockKey key{access.component, access.first_block + i};
    if (seen_.full() || seen_.contains(key)) continue;
    seen_.insert(key) = 1;
    part.boot.push_back({key.block, time_s});
  }
}

void ReplayModel::on_access(const trace::Access& access, std::vector<Candidate>& out) {
  if (access.op != trace::Op::kRead || !learning_) return;
  if (access.at - started_ > options_.learning_window) {
    on_end(access.at);
    return;
  }
  Part* part = part_of(access.component);
  if (!part) {
    if (parts_.size() >= 64) return;
    // A component nobody announced: its whole history becomes due with its first touch.
    parts_.push_back(
        {.component = access.component, .sequence = history_->sequence(access.component)});
    part = &parts_.back();
    if (part->sequence) {
      part->touched.resize(part->sequence->entries.size());
      const double here = to_seconds(access.at - started_);
      for (uint32_t i = 0; i < part->sequence->entries.size(); ++i) {
        const double after =
            std::max(0.0, static_cast<double>(part->sequence->entries[i].time_s) - here);
        emit(*part, i, access.at + from_seconds(after), out);
      }
    }
  }
  if (part->sequence) {
    for (uint32_t i = 0; i < access.block_count; ++i) {
      const BlockKey key{access.component, access.first_block + i};
      if (seen_.contains(key)) continue;
      const auto index = part->sequence->find(key.block);
      known_share_ += ((index ? 1.0f : 0.0f) - known_share_) * kKnownWeight;
      if (!index) continue;
      adapt_pace(part->sequence->entries[*index], access.at);
      follow(*part, *index, access.at, out);
    }
  }
  record(access, *part);
}

void ReplayModel::on_end(Time now) {
  if (!learning_) return;
  learning_ = false;
  const auto observed_s = static_cast<float>(to_seconds(now - started_));
  for (Part& part : parts_) {
    history_->merge(part.component, part.boot, observed_s);
    part.boot = {};
  }
  seen_.clear();
}

float ReplayModel::coverage() const {
  const bool has_history = std::any_of(parts_.begin(), parts_.end(),
                                       [](const Part& part) { return part.sequence != nullptr; });
  return learning_ && has_history ? std::min(known_share_, 0.99f) : 0;
}

size_t ReplayModel::state_bytes() const {
  size_t bytes = seen_.state_bytes();
  for (const Part& part : parts_)
    bytes += sizeof part + part.touched.size() / 8 + part.boot.capacity() * sizeof(FirstTouch);
  return bytes;
}

}  // namespace forerun::predict
