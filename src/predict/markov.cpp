#include "predict/markov.h"

#include <algorithm>

namespace forerun::predict {
namespace {

constexpr float kUnseen = 1.4f;  // weight of what was never seen to follow, in halves
constexpr float kOtherShareMin = 0.15f;
constexpr float kPaceKeep = 0.9f;

uint16_t times_class(uint32_t halves) {
  return halves < 4 ? 0 : halves < 6 ? 1 : halves < 10 ? 2 : 3;
}

uint16_t step_class(uint32_t step) {
  return static_cast<uint16_t>(step < 4 ? step : step < 6 ? 4 : step < 9 ? 5 : step < 14 ? 6 : 7);
}

const PackedRun& most_seen(const std::array<PackedRun, 3>& all) {
  return *std::max_element(all.begin(), all.end(), [](const PackedRun& a, const PackedRun& b) {
    return a.count() < b.count();
  });
}

}  // namespace

MarkovModel::MarkovModel(Options options)
    : options_(options), first_(options.contexts_max / 2), second_(options.contexts_max) {
  options_.steps_max = std::min(options_.steps_max, kStepsMax);
}

void MarkovModel::on_start(Time, std::vector<Candidate>&) {}
void MarkovModel::on_end(Time) {}

size_t MarkovModel::state_bytes() const {
  return sizeof(*this) + first_.state_bytes() + second_.state_bytes();
}

void MarkovModel::count(Successors& known, const trace::Access& next) {
  if (known.total + 2 > static_cast<int>(PackedRun::kCountMax)) {
    known.total /= 2;
    for (PackedRun& one : known.all) one.set_count(one.count() / 2);
  }
  known.total += 2;
  PackedRun* least = known.all.data();
  for (PackedRun& one : known.all) {
    if (one.is(next.first_block)) {
      one = {next.first_block, next.block_count, one.count() + 2};
      return;
    }
    if (one.count() < least->count()) least = &one;
  }
  if (least->count() > 2)
    least->set_count(least->count() - 1);  // it has to be wrong more than once to give way
  else
    *least = {next.first_block, next.block_count, 2};
}

void MarkovModel::learn(Order& order, uint32_t context, const trace::Access& next) {
  Successors& known = order.insert(context, clock());
  known.used_at = clock();
  count(known, next);
}

void MarkovModel::on_access(const trace::Access& access, std::vector<Candidate>& out) {
  if (access.op != trace::Op::kRead || access.block_count == 0) return;
  if (access.first_block > PackedRun::kBlockMax) return;
  ++reads_;
  const ComponentId number{numbers_.of(access.component)};
  const uint32_t here = hash_of({number, access.first_block});
  if (component_ != access.component) seen_ = chain_size_ = 0;
  component_ = access.component;
  if (seen_ > 0) {
    const auto gap = static_cast<float>(to_seconds(access.at - last_at_));
    pace_s_ = pace_s_ * kPaceKeep + gap * (1 - kPaceKeep);
    learn(first_, last_[0], access);
    if (seen_ > 1) learn(second_, hash_of(last_[1], last_[0]), access);
  }
  last_ = {here, last_[0]};
  last_at_ = access.at;
  if (seen_ < 2) ++seen_;
  follow(access, out);
}

void MarkovModel::prepare(const trace::Access& access) const {
  const uint32_t here = hash_of({access.component, access.first_block});
  first_.prefetch(here);
  second_.prefetch(hash_of(last_[0], here));
}

void MarkovModel::follow(const trace::Access& access, std::vector<Candidate>& out) {
  if (chain_size_ > 0 && chain_[chain_first_].block == access.first_block) {
    chain_first_ = (chain_first_ + 1) % kStepsMax;
    --chain_size_;
  } else {
    chain_size_ = 0;
  }
  float said = 1;
  uint32_t before = seen_ > 1 ? last_[1] : 0, here = last_[0];
  for (uint32_t i = 0; i < options_.steps_max; ++i) {
    if (i == chain_size_) {
      const Successors* known = before != 0 ? second_.find(hash_of(before, here)) : nullptr;
      const uint16_t order = known ? 1 : 0;
      if (!known) known = first_.find(here);
      if (!known) return;
      const PackedRun& best = most_seen(known->all);
      if (best.count() == 0) return;
      if (i == 0) say_others(*known, best, order, access, out);
      chain_[(chain_first_ + chain_size_++) % kStepsMax] = {
          best.block(),
          best.block_count(),
          hash_of({ComponentId{numbers_.of(access.component)}, best.block()}),
          static_cast<float>(best.count()) / (static_cast<float>(known->total) + kUnseen),
          order,
          times_class(best.count())};
    }
    const Step& step = chain_[(chain_first_ + i) % kStepsMax];
    said *= step.share;
    if (said < options_.said_min) {
      chain_size_ = i;  // to be looked at again when it is nearer
      return;
    }
    const auto context = static_cast<uint16_t>((step.order * 8 + step_class(i)) * 4 + step.times);
    out.push_back({access.component, step.block, step.block_count, said, context,
                   access.at + from_seconds(static_cast<double>(pace_s_) * (i + 1))});
    before = here;
    here = step.hash;
  }
  // If all comes as said, this is where the next access goes on.
  first_.prefetch(here);
  second_.prefetch(hash_of(before, here));
}

void MarkovModel::say_others(const Successors& known, const PackedRun& best, uint16_t order,
                             const trace::Access& access, std::vector<Candidate>& out) const {
  for (const PackedRun& one : known.all) {
    const float share =
        static_cast<float>(one.count()) / (static_cast<float>(known.total) + kUnseen);
    if (&one == &best || one.count() < 4 || share < kOtherShareMin) continue;
    out.push_back({access.component, one.block(), one.block_count(), share,
                   static_cast<uint16_t>(2 * 8 * 4 + order),
                   access.at + from_seconds(static_cast<double>(pace_s_))});
  }
}

}  // namespace forerun::predict
