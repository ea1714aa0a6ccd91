// Replay: what earlier boots of a component read first, in which order and when, merged over boots.
// A boot repeats itself almost exactly (99 % of the blocks, rank correlation 0.99), so from the
// second boot on this model foresees it; and what one VM taught serves every VM that holds the
// component, in whatever company (component_history.h).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "predict/block_table.h"
#include "predict/component_history.h"
#include "predict/model.h"
#include "predict/sequence.h"
#include "predict/sequence_walk.h"

namespace forerun::predict {

// The histories of all components on this host. Thread-safe.
class ReplayHistory {
 public:
  struct Options {
    MergeOptions merge;
    uint32_t components_max = 256;  // the one merged longest ago is dropped
  };
  // Returns a component's name in every process; 0: it belongs to one disk alone (its metadata) and
  // is nobody's companion.
  using NameOf = std::function<ComponentName(ComponentId)>;

  ReplayHistory();
  explicit ReplayHistory(Options options, NameOf name_of = {});
  // A tenant's own: of components for which `is_shared` it asks and teaches `common` instead, which
  // outlives it. `common` is never asked to ask another.
  using IsShared = std::function<bool(ComponentId)>;
  ReplayHistory(Options options, NameOf name_of, std::shared_ptr<ReplayHistory> common,
                IsShared is_shared);

  bool knows(ComponentId component) const;
  // Returns the boots that were merged, old ones fading; 0: none is known.
  float boots(ComponentId component) const;
  // Returns what a boot of `component` will read on a disk of the components `disk`; null if no
  // history is known. `prior`: of the component on this disk, or null. Metadata that never booted
  // is foreseen by its prior's meanings from what other disks' taught.
  std::shared_ptr<const BlockSequence> foresee(ComponentId component,
                                               std::span<const ComponentId> disk,
                                               const BlockSequence* prior = nullptr) const;
  // Merges one boot of a component on such a disk: see merge_boot. If the prior says what its
  // blocks mean, disks with other metadata learn from it too.
  void merge(ComponentId component, std::span<const ComponentId> disk,
             const std::vector<FirstTouch>& boot, float observed_s = 1e7f,
             const BlockSequence* prior = nullptr);
  void forget(ComponentId component);

  // Returns the component's history as docs/format_history.md says; empty if none is known.
  Buffer save(ComponentId component) const;
  // Replaces the component's history by a saved one; on an error it stays as it was. ERRORS:
  // kCorrupt, kUnsupported (a newer version), kTooLarge.
  Status load(ComponentId component, ByteView saved);
  // Returns what boots of disks of exactly these components taught of this one, in the same form;
  // empty if nothing.
  Buffer save_of_disk(ComponentId component, std::span<const ComponentId> disk) const;
  // Adds a saved history to what is known, see merge_history. ERRORS: as load.
  Status merge_saved(ComponentId component, ByteView saved);
  // save() and load() of what all disks' metadata taught, by name.
  Buffer save_meanings() const;
  Status load_meanings(ByteView saved);
  bool knows_meanings() const;

  size_t state_bytes() const;

 private:
  using HistoryPtr = std::shared_ptr<const ComponentHistory>;
  struct Known {
    HistoryPtr history;
    uint64_t merged_at = 0;  // a count of merges and loads, for dropping the oldest
  };
  bool is_common(ComponentId component) const {
    return common_ != nullptr && is_shared_(component);
  }
  HistoryPtr find(ComponentId component) const;
  // Returns all that are known, the common ones too.
  std::vector<std::pair<ComponentId, HistoryPtr>> all() const;
  std::vector<ComponentName> companions(ComponentId component,
                                        std::span<const ComponentId> disk) const;
  void put(ComponentId component, HistoryPtr history);
  HistoryPtr by_name() const;
  ComponentName name(ComponentId component) const;
  WeightOf weights(std::span<const ComponentId> disk) const;
  bool is_everywhere(ComponentId component) const;

  const Options options_;
  const NameOf name_of_;
  const std::shared_ptr<ReplayHistory> common_;  // null: this is what is common
  const IsShared is_shared_;
  mutable std::mutex mutex_;  // guards all below
  std::map<ComponentId, Known> known_;
  HistoryPtr by_name_;  // of meanings: entries' blocks are names
  uint64_t merges_ = 0;
};

// Replays the histories of one VM's components, adapting to its pace, and records this boot for the
// next.
class ReplayModel final : public Model {
 public:
  struct Options {
    Nanos learning_window = std::chrono::minutes(10);  // what is touched later is no part of the
                                                       // boot; nor what comes after on_end()
    uint32_t blocks_max = kSequenceBlocksMax;  // recorded per boot
    SequenceWalk::Options walk;
  };
  // `components`: the disk's, in its order; `priors`: of those that have one.
  ReplayModel(Options options, std::shared_ptr<ReplayHistory> history,
              std::vector<ComponentId> components, Priors priors = {});

  std::string_view name() const override { return "replay"; }
  void on_start(Time now, std::vector<Candidate>& out) override;
  void on_access(const trace::Access& access, std::vector<Candidate>& out) override;
  // Merges this boot into the history, once; later calls and accesses change the history no more.
  void on_end(Time now) override;
  float coverage(ComponentId component) const override;
  bool has_seen(ComponentId component) const override;
  size_t state_bytes() const override;

  // Returns how much slower than its history this boot runs; 1: as fast.
  double pace() const { return walk_.pace(); }

 private:
  struct Part {
    ComponentId component;
    bool is_known = false;           // it has a history
    bool is_translated = false;      // none of its own: other disks' metadata was asked
    float known_share = kKnewFirst;  // of recent first touches, those that the history knew
    std::vector<FirstTouch> boot;    // recorded now
  };
  static constexpr float kKnewFirst = 0.98f;
  // Adds the component. Returns what is foreseen of it.
  std::shared_ptr<const BlockSequence> add_part(ComponentId component);
  const BlockSequence* prior_of(ComponentId component) const;
  Part* part_of(ComponentId component);
  const Part* part_of(ComponentId component) const;
  void record(const trace::Access& access, Part& part);
  SequenceWalk::Word word(ComponentId component, const BlockSequence& sequence,
                          const SequenceEntry& entry) const;

  Options options_;
  std::shared_ptr<ReplayHistory> history_;
  const std::vector<ComponentId> disk_;
  const Priors priors_;
  std::vector<Part> parts_;
  BlockTable<uint8_t> seen_;  // first touches of this boot
  SequenceWalk walk_;
  bool learning_ = false;  // between on_start and the end of the window
};

}  // namespace forerun::predict
