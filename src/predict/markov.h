// A Markov chain of variable order over where requests begin: what followed the last two of them,
// or, where that pair was never seen, the last one; and what followed that, several steps on.
//
// SOURCE: Joseph, Grunwald, "Prefetching using Markov predictors", ISCA'97; contexts of the longest
// order known first, as in prediction by partial matching (Cleary, Witten, IEEE Trans. Comm. 32,
// 1984). Changed: the chain is walked ahead, since on a slow tier the next request alone is late.
#pragma once

#include <array>
#include <vector>

#include "predict/block_table.h"
#include "predict/model.h"

namespace forerun::predict {

// One thread.
class MarkovModel final : public Model {
 public:
  struct Options {
    uint32_t contexts_max = 1 << 17;  // of each order; the one made longest ago leaves, unless it
                                      // was seen again: then its counts are halved
    uint32_t steps_max = 6;
    float said_min = 0.1f;  // a chain less likely than this is not walked on
  };
  MarkovModel() : MarkovModel(Options{}) {}
  explicit MarkovModel(Options options);

  std::string_view name() const override { return "markov"; }
  void on_start(Time now, std::vector<Candidate>& out) override;
  void on_access(const trace::Access& access, std::vector<Candidate>& out) override;
  void on_end(Time now) override;
  size_t state_bytes() const override;

  static constexpr uint16_t kContexts = 2 * 8 * 4 + 2;  // order × step × times seen, and others

 private:
  struct Successor {
    uint64_t block = 0;
    uint32_t block_count = 0;
    float count = 0;  // 0: none
  };
  struct Successors {
    std::array<Successor, 4> all;
    float total = 0;
  };
  struct Order {
    explicit Order(uint32_t contexts_max) : table(contexts_max) {}
    BlockTable<Successors> table;
    std::vector<BlockKey> made;  // a ring, oldest at `oldest`
    size_t oldest = 0;
  };
  static void count(Successors& known, const trace::Access& next);
  void learn(Order& order, const BlockKey& context, const trace::Access& next);
  void make_room(Order& order);
  void walk(const trace::Access& access, std::vector<Candidate>& out);
  void say_others(const Successors& known, const Successor& best, uint16_t order,
                  const trace::Access& access, std::vector<Candidate>& out) const;

  Options options_;
  Order first_, second_;
  std::array<BlockKey, 2> last_{};  // where the last requests began, the newest first
  size_t seen_ = 0;                 // of last_
  Time last_at_{};
  float pace_s_ = 0;  // mean time between requests
};

}  // namespace forerun::predict
