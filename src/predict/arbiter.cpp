// See arbiter.h. One saying = one model, one block, one confidence. Sayings wait in a bounded pool:
// fresh, then doubted (its time passed and the guest went on reading, so it is learned as a
// failure), then forgotten. A doubted one that is read after all is revised. Without doubting
// early, a boot would see only successes until the horizon passed.
#include "predict/arbiter.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "core/result.h"
#include "predict/block_table.h"
#include "predict/judge.h"
#include "predict/price.h"
#include "predict/run_arbiter.h"

namespace forerun::predict {
namespace {

constexpr uint32_t kNone = ~uint32_t{0};
constexpr size_t kModelsMax = 32;
constexpr uint64_t kDoubtAfterReads = 96;  // reads of the guest after due; a boot makes about 900
constexpr uint32_t kSayingsPerBlockMax = 12;  // of all models
constexpr size_t kRecentMax = 1 << 14;        // blocks just read: the tier has them
constexpr float kSameProbability = 0.1f;  // blocks join a proposal over differences up to this …
constexpr Nanos kSameDue = 250ms;         // … and this
constexpr float kKnowsOrder = 0.9f;       // a model that covers this much has the last word on when
constexpr float kSurelyEnough = 0.9f;     // no run needs a surer word than this
// What the covering model leaves out comes true by another rule than what nobody covers: words
// about it are calibrated apart, in contexts from here on.
constexpr uint16_t kLeftOutContexts = 128;
constexpr Nanos kSooner = 100ms;  // a proposal is repeated if it is due this much sooner …
constexpr float kSurer = 0.1f;    // … or this much likelier

struct Saying {
  BlockKey key;
  Time due{};
  uint64_t judged_after = 0;  // count of reads, as the next
  uint64_t said_at_read = 0;
  uint32_t run = 1;  // blocks that were said with it
  float said = 0;
  float probability = 0;
  uint32_t next_of_block = kNone;
  uint32_t older = kNone, newer = kNone;  // in its queue
  uint16_t context = 0;
  uint8_t model = 0;
  bool doubted = false;
};

struct Block {
  uint32_t sayings = kNone;  // list
  uint8_t count = 0;
  bool proposed = false;
  bool doubted = false;  // learned as a failure in `merged`
  bool has_merged = false;
  float merged = 0;       // their merged word, not calibrated as a whole
  float probability = 0;  // as proposed last
  Time due{};
};

// A queue of sayings linked through the pool: oldest first.
struct Queue {
  uint32_t oldest = kNone, newest = kNone;
  size_t size = 0;
};

}  // namespace

struct Arbiter::Impl {
  Impl(Options with, std::vector<std::unique_ptr<Model>> given)
      : options(with),
        models(std::move(given)),
        judges(models.size(), Judge(with.calibration, with.phase_change)),
        blocks(with.pending_max),
        recent(kRecentMax),
        recent_ring(kRecentMax),
        said(models.size()) {
    FR_ASSERT(models.size() <= kModelsMax && with.pending_max > 0);
  }

  Options options;
  std::vector<std::unique_ptr<Model>> models;
  std::vector<Judge> judges;
  score::Reliability merged;  // of what was proposed
  std::vector<Saying> pool;
  std::vector<uint32_t> free_list;
  Queue fresh, doubted;
  BlockTable<Block> blocks;
  BlockTable<Time> recent;  // when a block was last read
  std::vector<BlockKey> recent_ring;
  size_t recent_next = 0;
  uint64_t reads = 0;
  Time at_access{};          // that is looked at
  bool knows_boots = false;  // boots showed a block that was spoken of
  // The largest coverage() a model claims now of each component asked about, and whose it is.
  struct Covering {
    ComponentId component;
    float covered = 0;
    uint8_t model = 0;
  };
  std::vector<Covering> coverings;           // scratch
  std::vector<std::vector<Candidate>> said;  // scratch, by model
  std::vector<BlockKey> changed;             // scratch: blocks of which something new was said
  std::vector<Proposal> proposals;           // scratch

  size_t state_bytes() const {
    return pool.capacity() * sizeof(Saying) + free_list.capacity() * sizeof(uint32_t) +
           blocks.state_bytes() + recent.state_bytes() + recent_ring.capacity() * sizeof(BlockKey);
  }

  Queue& queue_of(const Saying& saying) { return saying.doubted ? doubted : fresh; }

  void append(Queue& queue, uint32_t index) {
    Saying& saying = pool[index];
    saying.older = queue.newest;
    saying.newer = kNone;
    (queue.newest == kNone ? queue.oldest : pool[queue.newest].newer) = index;
    queue.newest = index;
    ++queue.size;
  }

  void unlink(Queue& queue, uint32_t index) {
    Saying& saying = pool[index];
    (saying.older == kNone ? queue.oldest : pool[saying.older].newer) = saying.newer;
    (saying.newer == kNone ? queue.newest : pool[saying.newer].older) = saying.older;
    --queue.size;
  }

  void learn(const Saying& saying, bool happened) {
    judges[saying.model].learn({.context = saying.context,
                                .said = saying.said,
                                .probability = saying.probability,
                                .run = saying.run,
                                .happened = happened,
                                .was_doubted = saying.doubted,
                                .would_propose = saying.probability >= options.probability_min},
                               at_access);
  }

  // Takes a saying out of its queue and out of the pool; its block's list is the caller's.
  void release(uint32_t index) {
    unlink(queue_of(pool[index]), index);
    free_list.push_back(index);
  }

  // Lets go of a saying whose outcome is known or will never be.
  void drop(uint32_t index) {
    Block* block = blocks.find(pool[index].key);
    for (uint32_t* link = &block->sayings; *link != kNone; link = &pool[*link].next_of_block) {
      if (*link != index) continue;
      *link = pool[index].next_of_block;
      break;
    }
    --block->count;
    if (block->sayings == kNone) blocks.erase(pool[index].key);
    release(index);
  }

  void doubt(uint32_t index) {
    unlink(fresh, index);
    learn(pool[index], false);
    pool[index].doubted = true;
    append(doubted, index);
    Block* block = blocks.find(pool[index].key);
    if (!block->proposed || block->doubted) return;
    block->doubted = true;
    merged.add(block->probability, false);
  }

  // Judges what is due for it: a bounded piece of work per access.
  void judge_some(Time now) {
    for (int i = 0; i < 64 && fresh.oldest != kNone; ++i) {
      const uint32_t index = fresh.oldest;
      if (pool[index].judged_after > reads) break;
      if (pool[index].due > now) {  // not its time yet: look again later
        pool[index].judged_after = reads + kDoubtAfterReads;
        unlink(fresh, index);
        append(fresh, index);
        continue;
      }
      doubt(index);
    }
    for (int i = 0; i < 16 && doubted.oldest != kNone; ++i) {
      const uint32_t index = doubted.oldest;
      if (!is_over(pool[index], now)) break;
      drop(index);
    }
  }

  bool is_over(const Saying& saying, Time now) const {
    return saying.due + options.horizon <= now ||
           (options.horizon_reads != 0 && saying.said_at_read + options.horizon_reads <= reads);
  }

  void make_room() {
    if (fresh.size + doubted.size < options.pending_max) return;
    if (doubted.oldest != kNone) return drop(doubted.oldest);
    learn(pool[fresh.oldest], false);
    drop(fresh.oldest);
  }

  // Files one saying. Returns whether it says anything new.
  bool file(uint8_t model, const Candidate& candidate, const BlockKey& key) {
    if (Block* known = blocks.find(key)) {
      for (uint32_t i = known->sayings; i != kNone; i = pool[i].next_of_block) {
        Saying& same = pool[i];
        if (same.model != model || same.context != candidate.context ||
            score::bin_of(same.said) != score::bin_of(candidate.confidence))
          continue;
        if (candidate.due >= same.due) return false;
        same.due = candidate.due;
        return true;
      }
      if (known->count >= kSayingsPerBlockMax) return false;
    }
    make_room();
    Block& block = blocks.insert(key);
    uint32_t index = static_cast<uint32_t>(pool.size());
    if (free_list.empty()) {
      pool.emplace_back();
    } else {
      index = free_list.back();
      free_list.pop_back();
    }
    pool[index] = {.key = key,
                   .due = candidate.due,
                   .judged_after = reads + kDoubtAfterReads,
                   .said_at_read = reads,
                   .run = candidate.block_count,
                   .said = candidate.confidence,
                   .probability = judges[model].calibration.probability(candidate.context,
                                                                        candidate.confidence),
                   .next_of_block = block.sayings,
                   .context = candidate.context,
                   .model = model};
    block.sayings = index;
    ++block.count;
    append(fresh, index);
    return true;
  }

  // Merges what unmuted models say now of a block, and proposes it if that is news. Their log odds
  // are added as those of independent witnesses would be, but divided by the root of their number,
  // since they see the same accesses. Measured on boots: less waste at equal stall than the most
  // probable word alone, and closer to what happens than a noisy or. Where the model that covers
  // the component has spoken, the others are heard by the share that it does not cover.
  void propose(const BlockKey& key, Block& block) {
    float best = 0, log_odds = 0, weights = 0;
    int count = 0;
    Time due = kTimeNever, due_of_covering = kTimeNever;
    uint8_t model = 0;
    uint32_t run = 1;
    const Covering& covering = covering_of(key.component);
    const bool is_known = covering.covered > 0 && !judges[covering.model].gate.muted() &&
                          is_said_by(covering.model, key);
    uint32_t heard = 0;     // each model's newest saying counts; lists are newest first
    bool is_shown = false;  // boots showed this very block
    for (uint32_t i = block.sayings; i != kNone; i = pool[i].next_of_block) {
      const Saying& saying = pool[i];
      if ((heard >> saying.model & 1) != 0 || judges[saying.model].gate.muted()) continue;
      heard |= 1u << saying.model;
      ++count;
      const bool has_seen = models[saying.model]->has_seen(key.component);
      is_shown |= has_seen;
      const bool is_outweighed = is_known && saying.model != covering.model && !has_seen;
      const float weight = is_outweighed ? 1 - covering.covered : 1;
      weights += weight;
      log_odds += weight * std::log(saying.probability / (1 - saying.probability));
      due = std::min(due, saying.due);
      if (covering.covered >= kKnowsOrder && saying.model == covering.model)
        due_of_covering = saying.due;
      if (saying.probability <= best) continue;
      best = saying.probability;
      model = saying.model;
      run = saying.run;
    }
    if (count == 0) return;
    if (due_of_covering != kTimeNever) due = due_of_covering;
    const float probability = count == 1 || options.merge == Options::Merge::kSurest
                                  ? best
                                  : 1 / (1 + std::exp(-log_odds / std::sqrt(weights)));
    if (probability < worth_from(key, is_shown, run)) return;
    const bool is_news = probability >= block.probability + kSurer || due + kSooner <= block.due;
    if (block.proposed && !is_news) return;
    if (!block.doubted) block.probability = probability;
    block.proposed = true;
    block.due = due;
    add(key, probability, model, due);
  }

  // Returns the probability from which on the block is worth its fetch.
  float worth_from(const BlockKey& key, bool is_shown, uint32_t run) {
    float from = options.probability_min;
    knows_boots |= is_shown;
    if (knows_boots && !is_shown) from = std::max(from, options.probability_min_unseen);
    if (options.probability_per_doubling > 0)
      from = std::min(kSurelyEnough,
                      from + options.probability_per_doubling * std::log2(static_cast<float>(run)));
    return options.bytes_of ? from * price_of(options.bytes_of(key.component, key.block)) : from;
  }

  void add(const BlockKey& key, float probability, uint8_t model, Time due) {
    if (!proposals.empty()) {
      Proposal& last = proposals.back();
      const Nanos apart = due > last.due ? due - last.due : last.due - due;
      if (last.component == key.component && last.first_block + last.block_count == key.block &&
          last.model == model && std::abs(last.probability - probability) < kSameProbability &&
          apart < kSameDue) {
        last.probability = std::min(last.probability, probability);
        last.due = std::min(last.due, due);
        ++last.block_count;
        return;
      }
    }
    proposals.push_back({key.component, key.block, 1, probability, model, due});
  }

  bool is_said_by(uint8_t model, const BlockKey& key) const {
    const Block* block = blocks.find(key);
    for (uint32_t i = block ? block->sayings : kNone; i != kNone; i = pool[i].next_of_block)
      if (pool[i].model == model) return true;
    return false;
  }

  const Covering& covering_of(ComponentId component) {
    for (const Covering& known : coverings) {
      if (known.component == component) return known;
    }
    Covering covering{.component = component};
    for (size_t m = 0; m < models.size(); ++m) {
      const float covered = models[m]->coverage(component);
      if (covered <= covering.covered) continue;
      covering.covered = covered;
      covering.model = static_cast<uint8_t>(m);
    }
    return coverings.emplace_back(covering);
  }

  // Hears what a model said of the components that it covers most, or of the others.
  void hear(uint8_t model, bool as_covering, Time now) {
    for (const Candidate& candidate : said[model]) {
      const Covering covering = covering_of(candidate.component);
      const bool is_covering = covering.covered > 0 && covering.model == model;
      if (is_covering != as_covering) continue;
      for (uint32_t i = 0; i < candidate.block_count; ++i) {
        const BlockKey key{candidate.component, candidate.first_block + i};
        if (is_here(key, now)) continue;
        Candidate adjusted = candidate;
        if (covering.covered > 0 && !is_covering && !models[model]->has_seen(key.component) &&
            !is_said_by(covering.model, key)) {
          adjusted.confidence *= 1 - covering.covered;
          adjusted.context += kLeftOutContexts;
        }
        if (file(model, adjusted, key)) changed.push_back(key);
      }
    }
  }

  bool is_here(const BlockKey& key, Time now) const {
    if (options.is_here) return options.is_here(key.component, key.block);
    const Time* read_at = recent.find(key);
    return read_at && now - *read_at < options.horizon;  // the tier just had it
  }

  void remember(const BlockKey& key, Time now) {
    if (options.is_here) return;
    if (Time* known = recent.find(key)) {
      *known = now;
      return;
    }
    if (recent.full()) recent.erase(recent_ring[recent_next]);
    recent_ring[recent_next] = key;
    recent_next = (recent_next + 1) % recent_ring.size();
    recent.insert(key) = now;
  }

  void settle(const BlockKey& key) {
    const Block* block = blocks.find(key);
    if (!block) return;
    for (uint32_t i = block->sayings; i != kNone;) {
      const uint32_t next = pool[i].next_of_block;
      learn(pool[i], true);
      release(i);
      i = next;
    }
    if (block->doubted)
      merged.revise(block->probability);
    else if (block->proposed)
      merged.add(block->probability, true);
    blocks.erase(key);
  }

  void ask(Time now, auto&& question, size_t proposals_max, std::vector<Proposal>& out) {
    proposals.clear();
    changed.clear();
    for (size_t m = 0; m < models.size(); ++m) {
      said[m].clear();
      question(*models[m], said[m]);
    }
    // The one that covers most is heard first: what the others say is measured against its word.
    coverings.clear();
    for (const bool as_covering : {true, false}) {
      for (uint8_t m = 0; m < models.size(); ++m) hear(m, as_covering, now);
    }
    for (const BlockKey& key : changed) {
      // Gone if the limit of pending ones was reached meanwhile.
      if (Block* block = blocks.find(key)) propose(key, *block);
    }
    if (proposals.size() > proposals_max) {
      std::sort(proposals.begin(), proposals.end(), [](const Proposal& a, const Proposal& b) {
        return std::tie(b.probability, a.due, a.component, a.first_block) <
               std::tie(a.probability, b.due, b.component, b.first_block);
      });
      proposals.resize(proposals_max);
    }
    out.insert(out.end(), proposals.begin(), proposals.end());
  }
};

Arbiter::Arbiter(Options options, std::vector<std::unique_ptr<Model>> models) {
  if (options.unit == Options::Unit::kRuns)
    runs_ = std::make_unique<RunArbiter>(std::move(options), std::move(models));
  else
    impl_ = std::make_unique<Impl>(std::move(options), std::move(models));
}
Arbiter::~Arbiter() = default;

void Arbiter::on_start(Time now, std::vector<Proposal>& out) {
  if (runs_) return runs_->on_start(now, out);
  impl_->ask(
      now, [&](Model& model, std::vector<Candidate>& said) { model.on_start(now, said); }, SIZE_MAX,
      out);
}

void Arbiter::on_access(const trace::Access& access, std::vector<Proposal>& out) {
  if (runs_) return runs_->on_access(access, out);
  impl_->at_access = access.at;
  if (access.op == trace::Op::kRead) {
    ++impl_->reads;
    for (uint32_t i = 0; i < access.block_count; ++i) {
      const BlockKey key{access.component, access.first_block + i};
      impl_->settle(key);
      impl_->remember(key, access.at);
    }
    impl_->judge_some(access.at);
  }
  impl_->ask(
      access.at, [&](Model& model, std::vector<Candidate>& said) { model.on_access(access, said); },
      impl_->options.proposals_per_access_max, out);
}

void Arbiter::on_end(Time now) {
  if (runs_) return runs_->on_end(now);
  for (auto& model : impl_->models) model->on_end(now);
}

void Arbiter::on_behaviour(std::span<const float> inputs, size_t category) {
  if (runs_) return runs_->on_behaviour(inputs, category);
  for (auto& model : impl_->models) model->on_behaviour(inputs, category);
}

std::vector<ModelReport> Arbiter::report() const {
  if (runs_) return runs_->report();
  std::vector<ModelReport> reports;
  for (size_t m = 0; m < impl_->models.size(); ++m)
    reports.push_back(report_of(*impl_->models[m], impl_->judges[m]));
  reports.push_back(report_of("proposed", impl_->merged));
  reports.back().state_bytes = impl_->state_bytes();
  return reports;
}

std::span<const std::unique_ptr<Model>> Arbiter::models() const {
  return runs_ ? runs_->models() : std::span<const std::unique_ptr<Model>>(impl_->models);
}

}  // namespace forerun::predict
