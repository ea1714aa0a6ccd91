#include "predict/run_arbiter.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <tuple>

#include "core/result.h"
#include "predict/price.h"
#include "predict/set_table.h"

namespace forerun::predict {
namespace {

constexpr size_t kModelsMax = 32;
constexpr uint64_t kDoubtAfterReads = 96;
constexpr uint32_t kHorizonReads = 2048;  // unless the options say another
constexpr uint32_t kRunMax = 64;          // blocks heard of one word
constexpr uint32_t kSayingsPerGroupMax = 48;
constexpr float kWasteKeep = 1 - 1.0f / 8192;  // of the last read's blocks
constexpr float kWasteStep = 0.00003f;         // a read
constexpr uint64_t kWasteEvidence = 1024;
constexpr size_t kRecent = 1 << 14;    // blocks just read: the tier has them
constexpr float kSurelyEnough = 0.9f;  // no run needs a surer word than this

}  // namespace

RunArbiter::RunArbiter(Arbiter::Options options, std::vector<std::unique_ptr<Model>> models)
    : options_(std::move(options)),
      models_(std::move(models)),
      judges_(models_.size(), Judge(options_.calibration, options_.phase_change)),
      odds_(models_.size()),
      groups_(kPending),
      least_(options_.probability_min) {
  FR_ASSERT(models_.size() <= kModelsMax);
  if (!options_.is_here && !options_.which_are_here) recent_.resize(kRecent);
}

void RunArbiter::on_start(Time now, std::vector<Proposal>& out) {
  now_ = now;
  ask(
      {}, [&](Model& model, std::vector<Candidate>& said) { model.on_start(now, said); }, SIZE_MAX,
      out);
}

void RunArbiter::on_access(const trace::Access& access, std::vector<Proposal>& out) {
  now_ = access.at;
  uint32_t were_right = 0;
  if (access.op == trace::Op::kRead) {
    ++reads_;
    for (const auto& model : models_) model->prepare(access);
    if (access.served_from == trace::ServedFrom::kRepository)
      wanted_ += static_cast<float>(access.block_count);
    were_right = settle(access);
    remember(access);
    adapt();
    judge_some();
  }
  odds_.remember(access, were_right);
  ask(
      access, [&](Model& model, std::vector<Candidate>& said) { model.on_access(access, said); },
      options_.proposals_per_access_max, out);
}

void RunArbiter::on_end(Time now) {
  for (auto& model : models_) model->on_end(now);
}

void RunArbiter::on_behaviour(std::span<const float> inputs, size_t category) {
  for (auto& model : models_) model->on_behaviour(inputs, category);
}

void RunArbiter::ask(const trace::Access& access, auto&& question, size_t proposals_max,
                     std::vector<Proposal>& out) {
  proposals_.clear();
  for (uint8_t m = 0; m < models_.size(); ++m) {
    candidates_.clear();
    question(*models_[m], candidates_);
    for (const Candidate& candidate : candidates_) odds_.prefetch(candidate);
    for (const Candidate& candidate : candidates_) hear(m, candidate, access);
  }
  if (proposals_.size() > proposals_max) {
    std::sort(proposals_.begin(), proposals_.end(), [](const Proposal& a, const Proposal& b) {
      return std::tie(b.probability, a.due, a.component, a.first_block) <
             std::tie(a.probability, b.due, b.component, b.first_block);
    });
    proposals_.resize(proposals_max);
  }
  out.insert(out.end(), proposals_.begin(), proposals_.end());
}

void RunArbiter::hear(uint8_t model, const Candidate& candidate, const trace::Access& access) {
  if (candidate.block_count == 0) return;
  const uint64_t missing = this->missing(candidate);
  if (missing == 0) return;
  const Judge& judge = judges_[model];
  const WordOdds::Traits traits = odds_.traits_of(model, candidate, access);
  const float probability = odds_.probability(
      model, traits, judge.calibration.probability(candidate.context, candidate.confidence));
  const bool is_worth = probability >= worth_from(candidate) && !judge.gate.muted();
  // Any of the missing blocks, each as likely.
  auto skip =
      (reads_ * 0x9e3779b97f4a7c15 >> 32) * static_cast<uint64_t>(std::popcount(missing)) >> 32;
  uint64_t rest = missing;
  for (; skip > 0; --skip) rest &= rest - 1;
  const Saying saying{
      .key = {candidate.component,
              candidate.first_block + static_cast<uint64_t>(std::countr_zero(rest))},
      .said_at = static_cast<uint32_t>(reads_),
      .said = candidate.confidence,
      .probability = probability,
      .traits = traits,
      .context = candidate.context,
      .model = model,
      .blocks = static_cast<uint8_t>(is_worth ? std::popcount(missing) : 0)};
  file(saying);
  if (is_worth) propose(candidate, missing, probability, model);
}

// Returns the probability from which on a run is worth its fetch.
float RunArbiter::worth_from(const Candidate& candidate) const {
  float from = least_;
  if (options_.probability_per_doubling > 0 && candidate.block_count > 1)
    from = std::min(kSurelyEnough, from + options_.probability_per_doubling *
                                              std::log2(static_cast<float>(candidate.block_count)));
  return options_.bytes_of
             ? from * price_of(options_.bytes_of(candidate.component, candidate.first_block))
             : from;
}

void RunArbiter::adapt() {
  wanted_ *= kWasteKeep;
  in_vain_ *= kWasteKeep;
  if (options_.waste_max <= 0 || reads_ < kWasteEvidence) return;
  const float most =
      std::max(options_.probability_min, 2 * options_.probability_min - options_.probability_least);
  const float step = in_vain_ > options_.waste_max * wanted_ ? kWasteStep : -kWasteStep;
  least_ = std::clamp(least_ + step, options_.probability_least, most);
}

// Returns a bit for each block that is not here.
uint64_t RunArbiter::missing(const Candidate& candidate) const {
  const uint32_t count = std::min(candidate.block_count, kRunMax);
  const uint64_t all = count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
  if (options_.which_are_here)
    return all & ~options_.which_are_here(candidate.component, candidate.first_block, count);
  uint64_t bits = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const BlockKey key{candidate.component, candidate.first_block + i};
    const bool is_here =
        options_.is_here ? options_.is_here(key.component, key.block) : is_recent(key);
    if (!is_here) bits |= uint64_t{1} << i;
  }
  return bits;
}

bool RunArbiter::is_recent(const BlockKey& key) const {
  const uint32_t hash = hash_of(key);
  const Recent& recent = recent_[hash >> 1 & (kRecent - 1)];
  return recent.hash == hash && now_ - recent.at < options_.horizon;
}

void RunArbiter::remember(const trace::Access& access) {
  if (recent_.empty()) return;
  for (uint32_t i = 0; i < access.block_count; ++i) {
    const uint32_t hash = hash_of({access.component, access.first_block + i});
    recent_[hash >> 1 & (kRecent - 1)] = {hash, access.at};
  }
}

void RunArbiter::propose(const Candidate& candidate, uint64_t missing, float probability,
                         uint8_t model) {
  while (missing != 0) {
    const auto from = static_cast<uint32_t>(std::countr_zero(missing));
    const auto count = static_cast<uint32_t>(std::countr_one(missing >> from));
    const uint64_t first = candidate.first_block + from;
    const bool is_said =
        std::any_of(proposals_.begin(), proposals_.end(), [&](const Proposal& one) {
          return one.component == candidate.component && one.first_block <= first &&
                 first + count <= one.first_block + one.block_count;
        });
    if (!is_said)
      proposals_.push_back({candidate.component, first, count, probability, model, candidate.due});
    if (from + count == 64) return;
    missing &= ~uint64_t{0} << (from + count);
  }
}

// Returns whether it is something new.
bool RunArbiter::file(const Saying& saying) {
  const BlockKey group = group_of(saying.key);
  uint32_t* list = groups_.find(group);
  uint32_t length = 0;
  for (uint32_t at = list ? *list : 0; at != 0; at = sayings_[at - 1].next, ++length) {
    const Saying& same = sayings_[at - 1];
    if (same.key == saying.key && same.model == saying.model && same.context == saying.context &&
        score::bin_of(same.said) == score::bin_of(saying.said))
      return false;
  }
  if (length >= kSayingsPerGroupMax) return false;
  if (said_ - dropped_ == kPending) {
    drop_oldest();
    list = groups_.find(group);
  }
  const uint32_t place = place_of(said_++);
  if (sayings_.size() <= place) sayings_.resize(place + 1);
  uint32_t& first = list ? *list : groups_.insert(group);
  sayings_[place] = saying;
  sayings_[place].next = first;
  first = place + 1;
  return true;
}

uint32_t RunArbiter::settle(const trace::Access& access) {
  uint32_t were_right = 0;
  const uint64_t end = access.first_block + access.block_count;
  for (uint64_t group = access.first_block / kGroup; group * kGroup < end; ++group) {
    const BlockKey key{access.component, group};
    uint32_t* list = groups_.find(key);
    if (!list) continue;
    for (uint32_t* link = list; *link != 0;) {
      Saying& saying = sayings_[*link - 1];
      if (saying.key.block < access.first_block || saying.key.block >= end) {
        link = &saying.next;
        continue;
      }
      // What was fetched, and is missing when it is read at last, had been evicted: it stays a
      // failure.
      const bool was_lost = saying.blocks > 0 && saying.state == Saying::State::kDoubted &&
                            access.served_from == trace::ServedFrom::kRepository;
      if (!was_lost) learn(saying, true);
      were_right |= 1u << saying.model;
      saying.state = Saying::State::kSettled;
      *link = saying.next;
    }
    if (*list == 0) groups_.erase(key);
  }
  return were_right;
}

void RunArbiter::judge_some() {
  for (int i = 0; i < 64 && doubted_ < said_; ++i, ++doubted_) {
    Saying& saying = sayings_[place_of(doubted_)];
    if (static_cast<uint32_t>(reads_) - saying.said_at < kDoubtAfterReads) break;
    if (saying.state != Saying::State::kFresh) continue;
    learn(saying, false);
    saying.state = Saying::State::kDoubted;
  }
  const uint32_t horizon = options_.horizon_reads != 0 ? options_.horizon_reads : kHorizonReads;
  for (int i = 0; i < 64 && dropped_ < doubted_; ++i) {
    if (static_cast<uint32_t>(reads_) - sayings_[place_of(dropped_)].said_at < horizon) break;
    drop_oldest();
  }
}

void RunArbiter::drop_oldest() {
  const uint32_t place = place_of(dropped_);
  Saying& saying = sayings_[place];
  if (doubted_ == dropped_) {
    if (saying.state == Saying::State::kFresh) learn(saying, false);
    ++doubted_;
  }
  if (saying.state != Saying::State::kSettled) unlink(place);
  ++dropped_;
}

void RunArbiter::unlink(uint32_t place) {
  const BlockKey group = group_of(sayings_[place].key);
  uint32_t* list = groups_.find(group);
  for (uint32_t* link = list; *link != 0; link = &sayings_[*link - 1].next) {
    if (*link != place + 1) continue;
    *link = sayings_[place].next;
    break;
  }
  if (*list == 0) groups_.erase(group);
}

void RunArbiter::learn(const Saying& saying, bool happened) {
  const bool was_doubted = saying.state == Saying::State::kDoubted;
  const bool is_revised = happened && was_doubted;
  judges_[saying.model].learn({.context = saying.context,
                               .said = saying.said,
                               .probability = saying.probability,
                               .happened = happened,
                               .was_doubted = was_doubted,
                               .would_propose = saying.probability >= options_.probability_min},
                              now_);
  if (is_revised)
    odds_.revise(saying.model, saying.traits);
  else
    odds_.learn(saying.model, saying.traits, saying.probability, happened);
  if (saying.blocks == 0) return;
  const auto blocks = static_cast<float>(saying.blocks);
  if (happened) wanted_ += blocks;
  if (is_revised) in_vain_ = std::max(0.0f, in_vain_ - blocks);
  if (!happened) in_vain_ += blocks;
  if (is_revised)
    merged_.revise(saying.probability);
  else
    merged_.add(saying.probability, happened);
}

std::vector<ModelReport> RunArbiter::report() const {
  std::vector<ModelReport> reports;
  for (size_t m = 0; m < models_.size(); ++m) reports.push_back(report_of(*models_[m], judges_[m]));
  reports.push_back(report_of("proposed", merged_));
  reports.back().state_bytes = sayings_.capacity() * sizeof(Saying) + groups_.state_bytes() +
                               recent_.capacity() * sizeof(Recent) + odds_.state_bytes();
  return reports;
}

}  // namespace forerun::predict
