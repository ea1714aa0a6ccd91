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
#include <optional>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "predict/block_table.h"
#include "predict/model.h"

namespace forerun::predict {

// One block of a component's merged history.
struct ReplayEntry {
  uint64_t block = 0;
  float support = 0;  // share of boots that touched it; recent boots weigh more
  float rank = 0;     // mean position among the first touches of a boot
  float time_s = 0;   // mean seconds from start to first touch
  bool operator==(const ReplayEntry&) const = default;
};

// A component's merged history at one moment: immutable.
struct ReplaySequence {
  float boots = 0;                   // how many were merged, old ones fading
  std::vector<ReplayEntry> entries;  // by rank
  std::vector<uint32_t> by_block;    // indexes of entries, by block
  // Returns the index of `block` in entries.
  std::optional<uint32_t> find(uint64_t block) const;
};

struct FirstTouch {
  uint64_t block = 0;
  float time_s = 0;
};

// The histories of all components on this host. Thread-safe.
class ReplayHistory {
 public:
  struct Options {
    uint32_t blocks_max = 1 << 15;  // per component; the least supported are dropped
    uint32_t components_max = 256;  // the one merged longest ago is dropped
    float keep = 0.8f;              // weight of all earlier boots when a new one is merged
    float support_min = 0.05f;      // blocks that fewer boots touched are dropped
  };
  ReplayHistory();
  explicit ReplayHistory(Options options);

  // Returns the history of `component`; null if none is known.
  std::shared_ptr<const ReplaySequence> sequence(ComponentId component) const;
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
    std::shared_ptr<const ReplaySequence> sequence;
    uint64_t merged_at = 0;  // a count of merges and loads, for dropping the oldest
  };
  void put(ComponentId component, std::shared_ptr<const ReplaySequence> sequence);

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
        std::chrono::seconds(120);  // what is touched later is no part of the boot
    uint32_t blocks_max = 1 << 15;  // recorded per boot
    uint32_t ahead_blocks = 32;     // emitted again after a jump
    uint32_t jump_blocks = 48;      // ranks that a touch must lie off the expected one to be a jump
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
  double pace() const { return pace_; }

 private:
  struct Part {
    ComponentId component;
    std::shared_ptr<const ReplaySequence> sequence;  // null: no history
    std::vector<bool> touched;                       // by index of sequence->entries
    uint32_t position = 0;                           // index expected next
    std::vector<FirstTouch> boot;                    // recorded now
  };
  Part* part_of(ComponentId component);
  void record(const trace::Access& access, Part& part);
  void follow(Part& part, uint32_t index, Time now, std::vector<Candidate>& out);
  void adapt_pace(const ReplayEntry& entry, Time now);
  float confidence(const ReplaySequence& sequence, const ReplayEntry& entry) const;
  uint16_t context(const ReplaySequence& sequence) const;
  void emit(const Part& part, uint32_t index, Time due, std::vector<Candidate>& out) const;

  Options options_;
  std::shared_ptr<ReplayHistory> history_;
  std::vector<Part> parts_;
  BlockTable<uint8_t> seen_;  // first touches of this boot
  Time started_{};
  bool learning_ = false;  // between on_start and the end of the window
  double pace_ = 1;
  float known_share_ = 0.98f;  // of recent first touches, those that the history knew
};

}  // namespace forerun::predict
