// Replay: what earlier boots of a component read first, in which order and when, merged over boots.
// A boot repeats itself almost exactly (99 % of the blocks, rank correlation 0.99), so from the
// second boot on this model foresees it.
//
// Per block: the share of boots that touched it, old boots fading; the mean rank of its first
// touch; the mean time since the start. What one VM taught serves every VM that holds the
// component.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "predict/block_table.h"
#include "predict/model.h"
#include "predict/sequence.h"
#include "predict/sequence_walk.h"

namespace forerun::predict {

struct FirstTouch {
  uint64_t block = 0;
  float time_s = 0;
};

// The histories of all components on this host. Thread-safe.
class ReplayHistory {
 public:
  struct Options {
    uint32_t blocks_max = kSequenceBlocksMax;  // per component; the least supported are dropped
    uint32_t components_max = 256;             // the one merged longest ago is dropped
    float keep = 0.8f;          // weight of all earlier boots when a new one is merged
    float support_min = 0.05f;  // blocks that fewer boots touched are dropped
  };
  ReplayHistory();
  explicit ReplayHistory(Options options);

  // Returns the history of `component`; null if none is known.
  std::shared_ptr<const BlockSequence> sequence(ComponentId component) const;
  // Merges one boot: its first touches in order. `observed_s`: how long it was watched; blocks that
  // earlier boots touched later than that had no chance and keep their support. Ignores an empty
  // boot and repeated blocks.
  void merge(ComponentId component, const std::vector<FirstTouch>& boot, float observed_s = 1e7f);
  void forget(ComponentId component);

  // Returns the component's history as docs/format_history.md says; empty if none is known.
  Buffer save(ComponentId component) const;
  // Replaces the component's history by a saved one; on an error it stays as it was. ERRORS:
  // kCorrupt, kUnsupported (a newer version), kTooLarge.
  Status load(ComponentId component, ByteView saved);

  size_t state_bytes() const;

 private:
  struct Known {
    std::shared_ptr<const BlockSequence> sequence;
    uint64_t merged_at = 0;  // a count of merges and loads, for dropping the oldest
  };
  void put(ComponentId component, std::shared_ptr<const BlockSequence> sequence);

  const Options options_;
  mutable std::mutex mutex_;  // guards all below
  std::map<ComponentId, Known> known_;
  uint64_t merges_ = 0;
};

// Replays the histories of one VM's components, adapting to its pace, and records this boot for the
// next.
class ReplayModel final : public Model {
 public:
  struct Options {
    Nanos learning_window =
        std::chrono::seconds(120);             // what is touched later is no part of the boot
    uint32_t blocks_max = kSequenceBlocksMax;  // recorded per boot
    SequenceWalk::Options walk;
  };
  ReplayModel(Options options, std::shared_ptr<ReplayHistory> history,
              std::vector<ComponentId> components);

  std::string_view name() const override { return "replay"; }
  void on_start(Time now, std::vector<Candidate>& out) override;
  void on_access(const trace::Access& access, std::vector<Candidate>& out) override;
  // Merges this boot into the history, once; later calls and accesses change the history no more.
  void on_end(Time now) override;
  float coverage() const override;
  size_t state_bytes() const override;

  // Returns how much slower than its history this boot runs; 1: as fast.
  double pace() const { return walk_.pace(); }

 private:
  struct Part {
    ComponentId component;
    std::vector<FirstTouch> boot;  // recorded now
  };
  Part* part_of(ComponentId component);
  void record(const trace::Access& access, Part& part);
  SequenceWalk::Word word(const BlockSequence& sequence, const SequenceEntry& entry) const;

  Options options_;
  std::shared_ptr<ReplayHistory> history_;
  std::vector<Part> parts_;
  BlockTable<uint8_t> seen_;  // first touches of this boot
  SequenceWalk walk_;
  bool learning_ = false;      // between on_start and the end of the window
  float known_share_ = 0.98f;  // of recent first touches, those that the history knew
};

}  // namespace forerun::predict
