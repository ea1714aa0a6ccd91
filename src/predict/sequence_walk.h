// One VM's walk along the block sequences of its components: says them in order of time, keeps the
// place, says again and sooner what follows a jump, and measures the pace. What a block's word is
// worth, the model that walks decides. Replay and the boot prior share it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "predict/model.h"
#include "predict/sequence.h"

namespace forerun::predict {

// One thread. State: 17 bytes a block of the sequences, the plan's part of it until it is said.
class SequenceWalk {
 public:
  struct Options {
    uint32_t ahead_blocks = 32;  // said again after a jump
    uint32_t jump_blocks = 48;   // ranks that a touch must lie off the expected one to be a jump
    // Blocks said that the guest did not touch yet; the sequence goes on as they are touched.
    size_t unconfirmed_max = SIZE_MAX;
  };
  struct Word {
    float confidence = 0;
    uint16_t context = 0;
  };
  // Returns what the model says of an entry.
  using Say = std::function<Word(ComponentId component, const BlockSequence& sequence,
                                 const SequenceEntry& entry)>;
  using Candidates = std::vector<Candidate>;

  SequenceWalk(Options options, Say say) : options_(options), say_(std::move(say)) {}

  // Adds a component; a known one stays as it is. A null or empty sequence is no sequence.
  void add(ComponentId component, std::shared_ptr<const BlockSequence> sequence);
  bool is_empty() const { return parts_.empty(); }
  bool has(ComponentId component) const { return index_of(component).has_value(); }

  // The VM starts: says the sequences of all components, merged by time.
  void start(Time now, Candidates& out);
  // Adds a component at its first touch: its whole sequence becomes due from here.
  void add_late(ComponentId component, std::shared_ptr<const BlockSequence> sequence, Time now,
                Candidates& out);
  // Returns whether the component has a sequence and the block is in it.
  bool knows(ComponentId component, uint64_t block) const;
  // The guest touched this block for the first time.
  void touch(ComponentId component, uint64_t block, Time now, Candidates& out);

  // Returns how much slower than its sequences this boot runs; 1: as fast.
  double pace() const { return pace_; }
  Time started() const { return started_; }
  size_t state_bytes() const;

 private:
  struct Part {
    ComponentId component;
    std::shared_ptr<const BlockSequence> sequence;
    std::vector<bool> touched, said;  // by index of sequence->entries
    uint32_t position = 0;            // index expected next
  };
  struct Planned {
    Time due{};
    uint32_t part = 0, index = 0;
  };
  std::optional<uint32_t> index_of(ComponentId component) const;
  void go_on(Time now, bool at_pace, Candidates& out);
  void follow(Part& part, uint32_t index, Time now, Candidates& out);
  void adapt_pace(const SequenceEntry& entry, Time now);
  void emit(Part& part, uint32_t index, Time due, Candidates& out);

  Options options_;
  Say say_;
  std::vector<Part> parts_;
  std::vector<Planned> plan_;
  size_t plan_next_ = 0;
  size_t unconfirmed_ = 0;
  Time started_{};
  double pace_ = 1;
};

}  // namespace forerun::predict
