// Markov statistics of first order: to which block a guest jumped after it had read another of the
// same component. Kept per component and shared by a host's VMs, like histories: what one VM's work
// showed serves every VM that holds the component, at any address, after the boot too, when replay
// has nothing to say.
//
// Only jumps are counted: what follows at once, `sequential` foresees from fewer signs.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "predict/block_table.h"
#include "predict/model.h"

namespace forerun::predict {

// Where jumps from one block went.
struct Successors {
  static constexpr size_t kMax = 3;  // the least counted gives way
  struct Target {
    uint64_t block = 0;
    uint16_t count = 0;  // 0: none
    bool operator==(const Target&) const = default;
  };
  uint16_t jumps = 0;  // to wherever
  std::array<Target, kMax> targets{};

  void count(uint64_t block);
  // Adds what another has counted.
  void add(const Successors& other);
  bool operator==(const Successors&) const = default;
};

// Of one component, by block.
using SuccessorTable = std::map<uint64_t, Successors>;

Buffer serialize(const SuccessorTable& table);
// ERRORS: kCorrupt, kUnsupported (a newer version), kTooLarge: over `blocks_max` blocks.
Result<SuccessorTable> parse_successor_table(ByteView saved, uint32_t blocks_max);

// The statistics of all components on this host. Thread-safe.
class SuccessorStatistics {
 public:
  struct Options {
    uint32_t blocks_max = 8192;     // of one component; those with the fewest jumps are dropped
    uint32_t components_max = 256;  // the one learned of longest ago is dropped
  };
  SuccessorStatistics() : SuccessorStatistics(Options{}) {}
  explicit SuccessorStatistics(Options options) : options_(options) {}
  // A tenant's own: as of ReplayHistory.
  using IsShared = std::function<bool(ComponentId)>;
  SuccessorStatistics(Options options, std::shared_ptr<SuccessorStatistics> common,
                      IsShared is_shared)
      : options_(options), common_(std::move(common)), is_shared_(std::move(is_shared)) {}

  // Returns what is known of a component; null: nothing.
  std::shared_ptr<const SuccessorTable> table(ComponentId component) const;
  // Adds what a session counted.
  void learn(ComponentId component, const SuccessorTable& counted);
  // Returns the component's statistics as docs/format_history.md says; empty if none are known.
  Buffer save(ComponentId component) const;
  // Adds saved ones to them. ERRORS: as load.
  Status merge_saved(ComponentId component, ByteView saved);
  // Replaces them by saved ones; on an error they stay as they were. ERRORS: as parse.
  Status load(ComponentId component, ByteView saved);

 private:
  struct Known {
    std::shared_ptr<const SuccessorTable> table;
    uint64_t learned_at = 0;  // a count, for dropping the oldest
  };
  bool is_common(ComponentId component) const {
    return common_ != nullptr && is_shared_(component);
  }
  void put(ComponentId component, SuccessorTable table);

  const Options options_;
  const std::shared_ptr<SuccessorStatistics> common_;  // null: this is what is common
  const IsShared is_shared_;
  mutable std::mutex mutex_;  // guards all below
  std::map<ComponentId, Known> known_;
  uint64_t learned_ = 0;
};

// One VM's session: one thread.
class SuccessorModel final : public Model {
 public:
  struct Options {
    uint32_t blocks_max = 8192;   // counted in one session until they are handed over
    uint32_t steps_max = 4;       // ahead
    float confidence_min = 0.5f;  // said from here on; a chain's is the product of its steps
    Nanos pause_max = std::chrono::seconds(5);  // what is read later is no consequence
  };
  SuccessorModel(Options options, std::shared_ptr<SuccessorStatistics> statistics)
      : options_(options), statistics_(std::move(statistics)) {}

  std::string_view name() const override { return "successor"; }
  void on_start(Time, std::vector<Candidate>&) override {}
  void on_access(const trace::Access& access, std::vector<Candidate>& out) override;
  // Hands over what was counted since the last time; the session may go on.
  void on_end(Time) override { hand_over(); }
  size_t state_bytes() const override;

 private:
  struct Part {
    ComponentId component;
    std::shared_ptr<const SuccessorTable> known;  // as at its first access
    SuccessorTable counted;                       // since, and not handed over
    uint64_t first = 0, end = 0;                  // the last read
    Time at{};
    float pace_s = 0;  // mean seconds from a jump to the next
  };
  Part& part_of(ComponentId component);
  void hand_over();
  // Returns the likeliest jump from a block with its confidence; 0: none is known.
  std::pair<uint64_t, float> next(const Part& part, uint64_t block) const;

  Options options_;
  std::shared_ptr<SuccessorStatistics> statistics_;
  std::vector<Part> parts_;
  size_t counted_ = 0;
};

}  // namespace forerun::predict
