#include "predict/markov.h"

#include <algorithm>

namespace forerun::predict {
namespace {

constexpr float kUnseen = 0.7f;  // weight of what was never seen to follow
constexpr float kOtherShareMin = 0.15f;
constexpr float kPaceKeep = 0.9f;

// One key for a pair of requests: the place of the second, told apart by the first. 64 bits are
// mixed; two pairs that meet in one key only make a prediction worse.
BlockKey pair_of(const BlockKey& first, const BlockKey& second) {
  uint64_t mixed =
      (first.block + 0x9e3779b97f4a7c15 * (first.component.value + 1)) * 0xbf58476d1ce4e5b9;
  mixed = (mixed ^ mixed >> 31 ^ second.block) * 0x94d049bb133111eb;
  return {second.component, mixed ^ mixed >> 29};
}

uint16_t times_class(float count) { return count < 2 ? 0 : count < 3 ? 1 : count < 5 ? 2 : 3; }

}  // namespace

MarkovModel::MarkovModel(Options options)
    : options_(options), first_(options.contexts_max), second_(options.contexts_max) {}

void MarkovModel::on_start(Time, std::vector<Candidate>&) {}
void MarkovModel::on_end(Time) {}

size_t MarkovModel::state_bytes() const {
  return first_.table.state_bytes() + second_.table.state_bytes() +
         (first_.made.capacity() + second_.made.capacity()) * sizeof(BlockKey);
}

void MarkovModel::count(Successors& known, const trace::Access& next) {
  known.total += 1;
  Successor* least = known.all.data();
  for (Successor& one : known.all) {
    if (one.count > 0 && one.block == next.first_block) {
      one.count += 1;
      one.block_count = next.block_count;
      return;
    }
    if (one.count < least->count) least = &one;
  }
  if (least->count > 1)
    least->count -= 0.5f;  // it has to be wrong more than once to give way
  else
    *least = {next.first_block, next.block_count, 1};
}

void MarkovModel::make_room(Order& order) {
  while (order.table.full()) {
    BlockKey& oldest = order.made[order.oldest];
    order.oldest = (order.oldest + 1) % order.made.size();
    Successors* known = order.table.find(oldest);
    if (known && known->total >= 2) {
      known->total /= 2;
      for (Successor& one : known->all) one.count /= 2;
      continue;
    }
    order.table.erase(oldest);
  }
}

void MarkovModel::learn(Order& order, const BlockKey& context, const trace::Access& next) {
  if (Successors* known = order.table.find(context)) return count(*known, next);
  const bool was_full = order.table.full();
  make_room(order);
  count(order.table.insert(context), next);
  if (was_full)  // into the place of the one that left
    order.made[(order.oldest + order.made.size() - 1) % order.made.size()] = context;
  else
    order.made.push_back(context);
}

void MarkovModel::on_access(const trace::Access& access, std::vector<Candidate>& out) {
  if (access.op != trace::Op::kRead || access.block_count == 0) return;
  const BlockKey here{access.component, access.first_block};
  if (seen_ > 0 && last_[0].component == access.component) {
    const auto gap = static_cast<float>(to_seconds(access.at - last_at_));
    pace_s_ = pace_s_ * kPaceKeep + gap * (1 - kPaceKeep);
    learn(first_, last_[0], access);
    if (seen_ > 1) learn(second_, pair_of(last_[1], last_[0]), access);
  }
  last_[1] = last_[0];
  last_[0] = here;
  last_at_ = access.at;
  if (seen_ < 2) ++seen_;
  walk(access, out);
}

void MarkovModel::walk(const trace::Access& access, std::vector<Candidate>& out) {
  BlockKey before = last_[1], here = last_[0];
  bool has_before = seen_ > 1 && before.component == here.component;
  float said = 1;
  for (uint16_t step = 0; step < options_.steps_max; ++step) {
    const Successors* known = has_before ? second_.table.find(pair_of(before, here)) : nullptr;
    const uint16_t order = known ? 1 : 0;
    if (!known) known = first_.table.find(here);
    if (!known) return;
    const Successor* best = &*std::max_element(
        known->all.begin(), known->all.end(),
        [](const Successor& a, const Successor& b) { return a.count < b.count; });
    said *= best->count / (known->total + kUnseen);
    if (step == 0) say_others(*known, *best, order, access, out);
    if (said < options_.said_min) return;
    const auto context = static_cast<uint16_t>((order * 8 + std::min<uint16_t>(step, 7)) * 4 +
                                               times_class(best->count));
    out.push_back({access.component, best->block, best->block_count, said, context,
                   access.at + from_seconds(static_cast<double>(pace_s_) * (step + 1))});
    before = here;
    here.block = best->block;
    has_before = true;
  }
}

void MarkovModel::say_others(const Successors& known, const Successor& best, uint16_t order,
                             const trace::Access& access, std::vector<Candidate>& out) const {
  for (const Successor& one : known.all) {
    const float share = one.count / (known.total + kUnseen);
    if (&one == &best || one.count < 2 || share < kOtherShareMin) continue;
    out.push_back({access.component, one.block, one.block_count, share,
                   static_cast<uint16_t>(2 * 8 * 4 + order),
                   access.at + from_seconds(static_cast<double>(pace_s_))});
  }
}

}  // namespace forerun::predict
