#include "predict/prior.h"

#include <algorithm>

namespace forerun::predict {
namespace {

constexpr float kConfidenceMin = 0.02f, kConfidenceMax = 0.98f;
// The share of a component's first touches that the prior knew: at the start as in recorded boots
// of composed images (nginx, redis, memcached, Flask: 0.6 to 0.95 by component), then measured.
constexpr float kKnownAtStart = 0.7f;
constexpr float kKnownWeight = 0.03f;  // about the last 30 first touches
// A streak of known reads is no proof, and replay goes first. Below what has the last word on when
// (the arbiter's kKnowsOrder): times are estimates.
constexpr float kCoverageMax = 0.89f;

SequenceWalk::Word word_of(ComponentId, const BlockSequence&, const SequenceEntry& entry) {
  return {.confidence = std::clamp(entry.support, kConfidenceMin, kConfidenceMax), .context = 0};
}

}  // namespace

PriorModel::PriorModel(Options options, std::vector<ComponentId> components, Priors priors)
    : options_(options),
      priors_(std::move(priors)),
      seen_(options.blocks_max),
      walk_(options.walk, word_of) {
  for (const ComponentId component : components) {
    if (const auto prior = priors_.find(component); prior != priors_.end())
      walk_.add(component, prior->second);
  }
}

void PriorModel::on_start(Time now, std::vector<Candidate>& out) {
  is_booting_ = true;
  const size_t before = out.size();
  walk_.start(now, out);
  put_off(before, out);
}

// Blocks said to be due too early are doubted too early, and what is said after them sinks below
// what is worth fetching. All are put off alike, so their order stays.
void PriorModel::put_off(size_t from, std::vector<Candidate>& out) const {
  for (size_t i = from; i < out.size(); ++i) out[i].due += options_.slack;
}

void PriorModel::on_access(const trace::Access& access, std::vector<Candidate>& out) {
  if (access.op != trace::Op::kRead || !is_booting_) return;
  if (access.at - walk_.started() > options_.boot_window) return on_end(access.at);
  const size_t before = out.size();
  if (!walk_.has(access.component)) {
    const auto prior = priors_.find(access.component);
    if (prior == priors_.end()) return;
    walk_.add_late(access.component, prior->second, access.at, out);
  }
  for (uint32_t i = 0; i < access.block_count; ++i) {
    const BlockKey key{access.component, access.first_block + i};
    if (seen_.full() || seen_.contains(key)) continue;
    seen_.insert(key) = 1;
    const bool is_known = walk_.knows(key.component, key.block);
    float& known_share = known_shares_.try_emplace(key.component, kKnownAtStart).first->second;
    known_share += ((is_known ? 1.0f : 0.0f) - known_share) * kKnownWeight;
    walk_.touch(key.component, key.block, access.at, out);
  }
  put_off(before, out);
}

float PriorModel::coverage(ComponentId component) const {
  if (!is_booting_ || !walk_.has(component)) return 0;
  const auto known = known_shares_.find(component);
  return known == known_shares_.end() ? kKnownAtStart : std::min(known->second, kCoverageMax);
}

void PriorModel::on_end(Time) {
  is_booting_ = false;
  seen_.clear();
}

}  // namespace forerun::predict
