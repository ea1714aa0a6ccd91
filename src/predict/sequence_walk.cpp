#include "predict/sequence_walk.h"

#include <algorithm>
#include <cmath>

namespace forerun::predict {
namespace {

constexpr uint32_t kRunMax = 256;     // blocks of one candidate
constexpr float kSameWord = 0.05f;    // runs join over differences up to this …
constexpr Nanos kSameDue = 250ms;     // … and this
constexpr double kPaceWeight = 0.05;  // of one touch; about the last 20 count

}  // namespace

std::optional<uint32_t> SequenceWalk::index_of(ComponentId component) const {
  for (uint32_t p = 0; p < parts_.size(); ++p) {
    if (parts_[p].component == component) return p;
  }
  return std::nullopt;
}

void SequenceWalk::add(ComponentId component, std::shared_ptr<const BlockSequence> sequence) {
  if (!sequence || sequence->entries.empty() || has(component)) return;
  const size_t blocks = sequence->entries.size();
  parts_.push_back({.component = component, .sequence = std::move(sequence)});
  parts_.back().touched.resize(blocks);
  parts_.back().said.resize(blocks);
}

void SequenceWalk::emit(Part& part, uint32_t index, Time due, Candidates& out) {
  const SequenceEntry& entry = part.sequence->entries[index];
  if (!part.said[index]) ++unconfirmed_;
  part.said[index] = true;
  const Word word = say_(part.component, *part.sequence, entry);
  if (!out.empty()) {
    Candidate& last = out.back();
    if (last.component == part.component && last.first_block + last.block_count == entry.block &&
        last.block_count < kRunMax && std::abs(last.confidence - word.confidence) < kSameWord &&
        due - last.due < kSameDue) {
      ++last.block_count;
      return;
    }
  }
  out.push_back({part.component, entry.block, 1, word.confidence, word.context, due});
}

void SequenceWalk::start(Time now, Candidates& out) {
  started_ = now;
  for (uint32_t p = 0; p < parts_.size(); ++p) {
    Time due = now;  // by rank; a time that runs backwards does not reorder a component's sequence
    const auto& entries = parts_[p].sequence->entries;
    for (uint32_t i = 0; i < entries.size(); ++i) {
      due = std::max(due, now + from_seconds(static_cast<double>(entries[i].time_s)));
      plan_.push_back({due, p, i});
    }
  }
  std::sort(plan_.begin(), plan_.end(), [](const Planned& a, const Planned& b) {
    return std::tie(a.due, a.part, a.index) < std::tie(b.due, b.part, b.index);
  });
  go_on(now, false, out);
}

void SequenceWalk::add_late(ComponentId component, std::shared_ptr<const BlockSequence> sequence,
                            Time now, Candidates& out) {
  if (!sequence || sequence->entries.empty() || has(component)) return;
  add(component, std::move(sequence));
  const auto part = static_cast<uint32_t>(parts_.size() - 1);
  const auto& entries = parts_.back().sequence->entries;
  for (uint32_t i = 0; i < entries.size(); ++i) {
    const Time due = started_ + from_seconds(static_cast<double>(entries[i].time_s));
    plan_.push_back({std::max(now, due), part, i});
  }
  go_on(now, false, out);
}

// Says the plan as far as the guest's touches allow; `at_pace`: due at the guest's own pace.
void SequenceWalk::go_on(Time now, bool at_pace, Candidates& out) {
  for (; plan_next_ < plan_.size() && unconfirmed_ < options_.unconfirmed_max; ++plan_next_) {
    const Planned& next = plan_[plan_next_];
    Part& part = parts_[next.part];
    if (part.touched[next.index] || part.said[next.index]) continue;
    Time due = next.due;
    if (at_pace) due = started_ + from_seconds(to_seconds(next.due - started_) * pace_);
    emit(part, next.index, std::max(now, due), out);
  }
  if (plan_next_ < plan_.size()) return;
  plan_ = {};
  plan_next_ = 0;
}

void SequenceWalk::adapt_pace(const SequenceEntry& entry, Time now) {
  const double elapsed = to_seconds(now - started_);
  if (entry.time_s < 0.2f || elapsed <= 0) return;  // too early to tell
  const double ratio = std::clamp(elapsed / static_cast<double>(entry.time_s), 0.05, 20.0);
  pace_ += (ratio - pace_) * kPaceWeight;
}

bool SequenceWalk::knows(ComponentId component, uint64_t block) const {
  const auto part = index_of(component);
  return part && parts_[*part].sequence->find(block);
}

void SequenceWalk::touch(ComponentId component, uint64_t block, Time now, Candidates& out) {
  const auto known = index_of(component);
  if (!known) return;
  Part& part = parts_[*known];
  const auto index = part.sequence->find(block);
  if (!index) return;
  adapt_pace(part.sequence->entries[*index], now);
  follow(part, *index, now, out);
  go_on(now, true, out);
}

// Keeps the place, and after a jump says again, with an earlier due, what follows.
void SequenceWalk::follow(Part& part, uint32_t index, Time now, Candidates& out) {
  const auto& entries = part.sequence->entries;
  if (part.said[index] && !part.touched[index]) --unconfirmed_;
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

size_t SequenceWalk::state_bytes() const {
  size_t bytes = plan_.capacity() * sizeof(Planned);
  for (const Part& part : parts_)
    bytes += sizeof part + (part.touched.size() + part.said.size()) / 8;
  return bytes;
}

}  // namespace forerun::predict
