// A Markov chain of variable order over where requests begin: what followed the last two of them,
// or, where that pair was never seen, the last one; and what followed that, several steps on.
//
// SOURCE: Joseph, Grunwald, "Prefetching using Markov predictors", ISCA'97; contexts of the longest
// order known first, as in prediction by partial matching (Cleary, Witten, IEEE Trans. Comm. 32,
// 1984). Changed: the chain is walked ahead, since on a slow tier the next request alone is late;
// and kept, so that a request that was foreseen costs one step more.
#pragma once

#include <array>
#include <vector>

#include "predict/component_numbers.h"
#include "predict/model.h"
#include "predict/set_table.h"

namespace forerun::predict {

// One thread.
class MarkovModel final : public Model {
 public:
  struct Options {
    uint32_t contexts_max =
        1 << 17;              // of pairs, and half as many of single requests; 32 bytes each
    uint32_t steps_max = 12;  // at most kStepsMax
    float said_min = 0.1f;    // a chain less likely than this is not walked on
  };
  static constexpr uint32_t kStepsMax = 32;
  MarkovModel() : MarkovModel(Options{}) {}
  explicit MarkovModel(Options options);

  std::string_view name() const override { return "markov"; }
  void on_start(Time now, std::vector<Candidate>& out) override;
  void on_access(const trace::Access& access, std::vector<Candidate>& out) override;
  void prepare(const trace::Access& access) const override;
  void on_end(Time now) override;
  size_t state_bytes() const override;
  Buffer save(std::span<const ComponentId> components) const override;
  Status restore(ByteView saved, std::span<const ComponentId> components) override;

  static constexpr uint16_t kContexts = 2 * 8 * 4 + 2;  // order × step × times seen, and others

 private:
  // What followed a context. Counts are halves, so that they can wear.
  struct Successors {
    uint32_t hash = 0;
    uint16_t used_at = 0;
    uint16_t total = 0;
    std::array<PackedRun, 3> all;
    uint16_t worth() const { return total >= 4 ? 128 : 0; }
  };
  static_assert(sizeof(Successors) == 32);
  using Order = SetTable<Successors, 4>;
  struct Step {
    uint64_t block = 0;
    uint32_t block_count = 0;
    uint32_t hash = 0;   // of the place
    float share = 0;     // of what followed the context before
    uint16_t order = 0;  // 1: that of pairs
    uint16_t times = 0;  // class of how often it was seen
  };
  static void count(Successors& known, const trace::Access& next);
  void learn(Order& order, uint32_t context, const trace::Access& next);
  // Makes the chain begin after this access, and as long as it may be.
  void follow(const trace::Access& access, std::vector<Candidate>& out);
  void say_others(const Successors& known, const PackedRun& best, uint16_t order,
                  const trace::Access& access, std::vector<Candidate>& out) const;
  uint16_t clock() const { return static_cast<uint16_t>(reads_ >> 10); }

  Options options_;
  ComponentNumbers numbers_;
  Order first_, second_;
  std::array<uint32_t, 2> last_{};  // hashes of where the last requests began, the newest first
  size_t seen_ = 0;                 // of last_
  ComponentId component_;
  std::array<Step, kStepsMax> chain_{};  // a ring of chain_size_ from chain_first_ on
  uint32_t chain_first_ = 0, chain_size_ = 0;
  uint64_t reads_ = 0;
  Time last_at_{};
  float pace_s_ = 0;  // mean time between requests
};

}  // namespace forerun::predict
