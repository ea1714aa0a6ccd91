// Merging boots of one component, and foreseeing the next.
#include "predict/component_history.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace forerun::predict {
namespace {

using Kind = ComponentHistory::Kind;
using Entry = ComponentHistory::Entry;

constexpr float kShareOne = 255;

// What is likely before any boot was seen. Measured on composed Debian images: of what one boot
// reads of a base, about 0.95 is read by boots beside other services too; a block comes by chance
// (a race, a timer) in about 1 of 50.
constexpr double kAlwaysPrior = 0.80, kCompanionsPrior = 0.12, kAnyOfPrior = 0.05;
constexpr double kChancePrior = 0.03;
constexpr double kExcept = 0.03;       // a boot that does otherwise than the hypothesis says
constexpr double kOthersWeight = 0.5;  // boots of the very same disk that the others' word is worth
// How much likelier a block is that the boot prior says, and how much less one that it does not.
// Priors of composed Debian images know 0.85 of what is read; the odds are kept far from that.
constexpr float kSaidByPrior = 3, kNotSaidByPrior = 0.3f;
constexpr float kPriorSays = 0.5f;
// The share of what every boot reads that the boot prior says (of 463 blocks of a base that boots
// of 14 images all read, 0.93 to 0.96), and of what a companion makes a boot read of another disk.
constexpr double kRecallAlways = 0.95, kRecallElsewhere = 0.05;
constexpr double kBootsWord = 30;  // blocks that the boots' word on whose they are is worth
// A hypothesis this likely against "every boot's" may be true; one boot that did otherwise is less.
constexpr double kDoubtful = 0.05;
constexpr size_t kKindsDoubtedFrom = 2;  // of one set of companions nothing tells any from another
constexpr int kRounds = 20;

float to_share(float value) { return std::clamp(std::round(value * kShareOne), 0.0f, kShareOne); }

size_t kind_for(ComponentHistory& history, const std::vector<ComponentName>& companions) {
  auto& kinds = history.kinds;
  const auto known = std::find_if(kinds.begin(), kinds.end(),
                                  [&](const Kind& kind) { return kind.companions == companions; });
  if (known != kinds.end()) return static_cast<size_t>(known - kinds.begin());
  if (kinds.size() < ComponentHistory::kKindsMax) {
    kinds.push_back({companions, 0});
    return kinds.size() - 1;
  }
  const auto least = std::min_element(
      kinds.begin(), kinds.end(), [](const Kind& a, const Kind& b) { return a.boots < b.boots; });
  const auto at = static_cast<size_t>(least - kinds.begin());
  *least = {companions, 0};
  for (Entry& entry : history.entries) entry.share[at] = 0;
  return at;
}

float weight_of(const Entry& entry, const std::vector<Kind>& kinds) {
  float weight = 0;
  for (size_t k = 0; k < kinds.size(); ++k)
    weight += static_cast<float>(entry.share[k]) / kShareOne * kinds[k].boots;
  return weight;
}

void drop_least(ComponentHistory& history, const MergeOptions& options) {
  const auto is_rare = [&](const Entry& entry) {
    return std::all_of(entry.share.begin(), entry.share.end(), [&](uint8_t share) {
      return static_cast<float>(share) < options.support_min * kShareOne;
    });
  };
  std::erase_if(history.entries, is_rare);
  if (history.entries.size() <= options.blocks_max) return;
  std::sort(history.entries.begin(), history.entries.end(), [&](const Entry& a, const Entry& b) {
    const float of_a = weight_of(a, history.kinds), of_b = weight_of(b, history.kinds);
    return of_a != of_b ? of_a > of_b : a.block < b.block;
  });
  history.entries.resize(options.blocks_max);
  std::sort(history.entries.begin(), history.entries.end(),
            [](const Entry& a, const Entry& b) { return a.block < b.block; });
}

// One hypothesis: the kinds beside which a block is read. Its worth is the likelihood of what the
// boots did.
class Evidence {
 public:
  Evidence(const std::vector<Kind>& kinds, const Entry& entry) : kinds_(kinds) {
    for (size_t k = 0; k < kinds.size(); ++k) {
      const double share = static_cast<double>(entry.share[k]) / kShareOne;
      read_.push_back(share * static_cast<double>(kinds[k].boots));
      missed_.push_back((1 - share) * static_cast<double>(kinds[k].boots));
      all_read_ += read_.back();
      all_missed_ += missed_.back();
    }
  }

  bool is_read(size_t kind) const { return read_[kind] >= missed_[kind]; }
  double read(size_t kind) const { return read_[kind]; }
  double share() const { return (all_read_ + 1) / (all_read_ + all_missed_ + 2); }

  double share_of_kinds() const {
    double kinds = 0;
    for (size_t k = 0; k < kinds_.size(); ++k) kinds += is_read(k) ? 1 : 0;
    return (kinds + 1) / (static_cast<double>(kinds_.size()) + 2);
  }

  template <typename IsSaid>
  double likelihood(const IsSaid& is_said) const {
    double log = 0;
    for (size_t k = 0; k < kinds_.size(); ++k) {
      const double as_said = is_said(k) ? read_[k] : missed_[k];
      const double otherwise = is_said(k) ? missed_[k] : read_[k];
      log += as_said * std::log(1 - kExcept) + otherwise * std::log(kExcept);
    }
    return std::exp(log);
  }
  // Of a share of boots that could be any.
  double likelihood_of_chance() const {
    return std::exp(std::lgamma(all_read_ + 1) + std::lgamma(all_missed_ + 1) -
                    std::lgamma(all_read_ + all_missed_ + 2));
  }

 private:
  const std::vector<Kind>& kinds_;
  std::vector<double> read_, missed_;
  double all_read_ = 0, all_missed_ = 0;
};

// Probabilities of blocks whose owner the boots do not tell, by whether the boot prior says them.
struct Doubtful {
  float if_said = 0, if_not_said = 0;
};

// Foresees the blocks of one history beside one set of companions.
class Foreseer {
 public:
  Foreseer(const ComponentHistory& history, const std::vector<ComponentName>& companions,
           const WeightOf& weight_of)
      : kinds_(history.kinds) {
    std::map<ComponentName, std::vector<bool>> by_name;
    for (size_t k = 0; k < kinds_.size(); ++k) {
      if (kinds_[k].companions == companions) same_ = k;
      for (const ComponentName name : kinds_[k].companions) {
        auto& beside = by_name[name];
        beside.resize(kinds_.size());
        beside[k] = true;
      }
    }
    // Companions that were always seen together cannot be told apart: one group, and it is here as
    // far as its members are, each by its weight.
    std::map<std::vector<bool>, Group> groups;
    for (const auto& [name, beside] : by_name) {
      const bool is_here = std::binary_search(companions.begin(), companions.end(), name);
      ++members_;
      if (!is_here) ++elsewhere_;
      // What one makes every boot read that is everywhere, like a kernel, every boot reads.
      if (is_here && std::count(beside.begin(), beside.end(), true) == std::ssize(kinds_)) continue;
      Group& group = groups[beside];
      group.beside = beside;
      ++group.members;
      const double weight = weight_of ? weight_of(name) : 1;
      group.weight += weight;
      if (is_here) group.here += weight;
    }
    for (const auto& [beside, group] : groups) groups_.push_back(group);
    has_strangers_ = std::any_of(companions.begin(), companions.end(),
                                 [&](ComponentName name) { return !by_name.contains(name); });
  }

  bool has_booted() const { return same_.has_value(); }

  float probability(const Entry& entry) const {
    const Evidence evidence(kinds_, entry);
    double sum = 0, yes = 0;
    const auto weigh = [&](double prior, double likelihood, double says) {
      sum += prior * likelihood;
      yes += prior * likelihood * says;
    };
    weigh(kAlwaysPrior, evidence.likelihood([](size_t) { return true; }), 1 - kExcept);
    weigh(kChancePrior, evidence.likelihood_of_chance(), evidence.share());
    for (const Group& group : groups_) {
      weigh(kCompanionsPrior * static_cast<double>(group.members) / static_cast<double>(members_),
            evidence.likelihood([&](size_t k) { return group.beside[k]; }),
            said(group.share_here(), evidence));
    }
    weigh_any_of(evidence, weigh);
    double probability = yes / sum;
    if (same_) {
      const double boots = static_cast<double>(kinds_[*same_].boots);
      probability = (evidence.read(*same_) + kOthersWeight * probability) / (boots + kOthersWeight);
    }
    return static_cast<float>(probability);
  }

  // Whether blocks of this pattern of shares could be every boot's or those of companions that are
  // not on this disk, but of nobody else. Then other witnesses are to be asked.
  bool is_doubtful(const Entry& entry) const {
    if (same_ || kinds_.size() < kKindsDoubtedFrom) return false;
    const Evidence evidence(kinds_, entry);
    double here = 0, elsewhere = 0;
    for (const Group& group : groups_) {
      const double its = evidence.likelihood([&](size_t k) { return group.beside[k]; });
      if (group.here > 0)
        here += its;
      else
        elsewhere = std::max(elsewhere, its);
    }
    const double always = evidence.likelihood([](size_t) { return true; });
    return here < kDoubtful * always && elsewhere >= kDoubtful * always;
  }

  // Returns how likely blocks of such a pattern are read, of which the prior says so many and so
  // many not. Two hypotheses, every boot's or somebody's elsewhere; how many belong to whom is
  // found by expectation maximisation over the mixture, with the boots' word as its start and as
  // kBootsWord blocks.
  Doubtful resolve(double said, double not_said) const {
    constexpr double kStart = kAlwaysPrior / (kAlwaysPrior + kCompanionsPrior);
    constexpr double kOddsSaid = kRecallAlways / kRecallElsewhere;
    constexpr double kOddsNotSaid = (1 - kRecallAlways) / (1 - kRecallElsewhere);
    const auto share = [](double always, double odds) {
      return always * odds / (always * odds + 1 - always);
    };
    double always = kStart;
    for (int round = 0; round < kRounds; ++round) {
      const double sum = kBootsWord * kStart + said * share(always, kOddsSaid) +
                         not_said * share(always, kOddsNotSaid);
      always = sum / (kBootsWord + said + not_said);
    }
    // One that never was beside it may want it, too.
    const double others = has_strangers_ ? 1 / (static_cast<double>(elsewhere_) + 2) : 0;
    const double if_elsewhere = kExcept + others * (1 - 2 * kExcept);
    const auto probability = [&](double odds) {
      const double its = share(always, odds);
      return static_cast<float>(its * (1 - kExcept) + (1 - its) * if_elsewhere);
    };
    return {probability(kOddsSaid), probability(kOddsNotSaid)};
  }

 private:
  struct Group {
    std::vector<bool> beside;  // by kind
    size_t members = 0;
    double weight = 0, here = 0;  // of all members; of those on this disk
    double share_here() const { return here / weight; }
  };

  // What a companion wants that was seen, one that was not may want too: as the share of kinds did.
  double said(double here, const Evidence& evidence) const {
    const double others = has_strangers_ ? evidence.share_of_kinds() : 0;
    return kExcept + (here + (1 - here) * others) * (1 - 2 * kExcept);
  }

  // Any of the companions beside whom it was read whenever they were there.
  template <typename Weigh>
  void weigh_any_of(const Evidence& evidence, const Weigh& weigh) const {
    std::vector<bool> said_of(kinds_.size());
    double absent = 1;
    for (const Group& group : groups_) {
      bool is_read = false, is_missed = false;
      for (size_t k = 0; k < kinds_.size(); ++k) {
        if (group.beside[k]) (evidence.is_read(k) ? is_read : is_missed) = true;
      }
      if (!is_read || is_missed) continue;
      for (size_t k = 0; k < kinds_.size(); ++k) said_of[k] = said_of[k] || group.beside[k];
      absent *= 1 - group.share_here();
    }
    weigh(kAnyOfPrior, evidence.likelihood([&](size_t k) { return said_of[k]; }),
          said(1 - absent, evidence));
  }

  const std::vector<Kind>& kinds_;
  std::optional<size_t> same_;  // the kind of this very disk
  std::vector<Group> groups_;
  size_t members_ = 0, elsewhere_ = 0;  // companions that were seen; of these not on this disk
  bool has_strangers_ = false;          // companions that were beside it in no boot
};

bool says(const BlockSequence& prior, uint64_t block) {
  const auto index = prior.find(block);
  return index && prior.entries[*index].support >= kPriorSays;
}

float weighed(float probability, bool is_said) {
  const float odds = probability / (1 - probability) * (is_said ? kSaidByPrior : kNotSaidByPrior);
  return odds / (1 + odds);
}

// Few patterns of who read a block and who did not are common to many blocks.
class Patterns {
 public:
  Patterns(const ComponentHistory& history, const Foreseer& foreseer, const BlockSequence* prior,
           bool is_everywhere)
      : prior_(foreseer.has_booted() ? nullptr : prior) {
    for (const Entry& entry : history.entries) {
      const auto [place, is_new] = patterns_.try_emplace(entry.share);
      Pattern& pattern = place->second;
      if (is_new) {
        pattern.probability = foreseer.probability(entry);
        pattern.is_doubtful = prior_ && is_everywhere && foreseer.is_doubtful(entry);
      }
      if (pattern.is_doubtful) ++(says(*prior_, entry.block) ? pattern.said : pattern.not_said);
    }
    for (auto& [share, pattern] : patterns_)
      if (pattern.is_doubtful) pattern.by_prior = foreseer.resolve(pattern.said, pattern.not_said);
  }

  float probability(const Entry& entry) const {
    const Pattern& pattern = patterns_.at(entry.share);
    if (!prior_) return pattern.probability;
    const bool is_said = says(*prior_, entry.block);
    if (!pattern.is_doubtful) return weighed(pattern.probability, is_said);
    return is_said ? pattern.by_prior.if_said : pattern.by_prior.if_not_said;
  }

 private:
  struct Pattern {
    float probability = 0;  // by the boots alone
    bool is_doubtful = false;
    double said = 0, not_said = 0;  // blocks, by the prior
    Doubtful by_prior;
  };
  const BlockSequence* prior_;  // null: not asked
  std::map<decltype(Entry::share), Pattern> patterns_;
};

}  // namespace

float ComponentHistory::boots() const {
  float sum = 0;
  for (const Kind& kind : kinds) sum += kind.boots;
  return sum;
}

// Rank and time are means over the boots that read the block, so two boots merged in either order
// differ only by their weights.
void merge_boot(ComponentHistory& history, const std::vector<ComponentName>& companions,
                std::span<const FirstTouch> boot, float observed_s, const MergeOptions& options) {
  if (boot.empty()) return;
  const size_t at = kind_for(history, companions);
  for (Kind& kind : history.kinds) kind.boots *= options.keep_others;
  Kind& kind = history.kinds[at];
  const float old_boots = kind.boots / options.keep_others * options.keep;
  kind.boots = std::min(old_boots + 1, kSequenceBootsMax);
  std::map<uint64_t, Entry> merged;
  for (Entry entry : history.entries) {
    if (entry.time_s <= observed_s) {
      const float share = static_cast<float>(entry.share[at]) * old_boots / kind.boots;
      entry.share[at] = static_cast<uint8_t>(to_share(share / kShareOne));
    }
    merged.emplace(entry.block, entry);
  }
  float rank = 0;  // counts distinct blocks
  std::set<uint64_t> in_boot;
  for (const FirstTouch& touch : boot) {
    if (!in_boot.insert(touch.block).second || in_boot.size() > options.blocks_max) continue;
    Entry& entry = merged[touch.block];
    const float old_weight = weight_of(entry, history.kinds);
    const float step = 1 / (old_weight + 1);
    entry.block = touch.block;
    entry.rank += (rank - entry.rank) * step;
    entry.time_s += (std::clamp(touch.time_s, 0.0f, kSequenceTimeMaxS) - entry.time_s) * step;
    const float share = static_cast<float>(entry.share[at]) / kShareOne + 1 / kind.boots;
    entry.share[at] = static_cast<uint8_t>(to_share(std::min(1.0f, share)));
    rank += 1;
  }
  history.entries.clear();
  for (const auto& [block, entry] : merged) history.entries.push_back(entry);
  drop_least(history, options);
}

std::shared_ptr<const BlockSequence> foresee(const ComponentHistory& history,
                                             const std::vector<ComponentName>& companions,
                                             const BlockSequence* prior, const WeightOf& weight_of,
                                             bool is_everywhere) {
  const Foreseer foreseer(history, companions, weight_of);
  std::vector<SequenceEntry> entries;
  const Patterns patterns(history, foreseer, prior, is_everywhere);
  for (const Entry& entry : history.entries)
    entries.push_back({entry.block, patterns.probability(entry), entry.rank, entry.time_s});
  return make_block_sequence(history.boots(), std::move(entries));
}

}  // namespace forerun::predict
