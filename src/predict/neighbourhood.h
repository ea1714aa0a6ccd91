// Spatial locality: who reads a block reads its neighbours, sooner or later. The only knowledge
// there is at a first boot, before any history. For each first touch it says how likely the
// untouched blocks around it are to follow, judging by what has been touched nearby so far.
#pragma once

#include <cstdint>
#include <vector>

#include "predict/block_table.h"
#include "predict/model.h"
#include "predict/sequence.h"

namespace forerun::predict {

// One thread.
class NeighbourhoodModel final : public Model {
 public:
  struct Options {
    uint32_t ahead = 8;   // blocks after the touched ones; at most 16
    uint32_t behind = 3;  // and before; at most 16
    uint32_t words_max =
        1 << 14;  // of 64 blocks each; when they are used up, the map of touches starts anew
    Nanos due_per_block = std::chrono::milliseconds(50);  // farther neighbours follow later
  };
  NeighbourhoodModel();
  // `priors`: what they say of where files begin is used.
  explicit NeighbourhoodModel(Options options, Priors priors = {});

  std::string_view name() const override { return "neighbourhood"; }
  void on_start(Time now, std::vector<Candidate>& out) override;
  void on_access(const trace::Access& access, std::vector<Candidate>& out) override;
  void on_end(Time now) override;
  size_t state_bytes() const override { return touched_.state_bytes(); }

 private:
  // Returns a bit per block of [first, first + 64), the lowest for `first`: touched or not.
  uint64_t window(ComponentId component, uint64_t first) const;
  // Returns whether any block of the range was not touched before; marks all of them.
  bool touch(const trace::Access& access);
  void say(const trace::Access& access, uint64_t block, uint64_t window, uint32_t at,
           uint32_t distance, std::vector<Candidate>& out) const;

  Options options_;
  Priors priors_;
  BlockTable<uint64_t> touched_;  // by block / 64
};

}  // namespace forerun::predict
