// A block sequence: which blocks of a component a boot reads first, in which order, when, and how
// surely. Replay merges one from the boots it saw; the boot prior is one made from the file system
// before any boot. Both are saved in one form: docs/format_history.md.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "core/bytes.h"
#include "core/id.h"
#include "core/result.h"

namespace forerun::predict {

inline constexpr uint32_t kSequenceBlocksMax = 1 << 15;  // of one sequence, unless told otherwise
inline constexpr uint32_t kMeaningsMax = 1 << 17;
inline constexpr uint32_t kFileRunsMax = 1 << 17;

struct SequenceEntry {
  uint64_t block = 0;
  float support = 0;  // probability that a boot reads it; of a history, the share of boots that did
  float rank = 0;     // mean position among the first touches of a boot
  float time_s = 0;   // mean seconds from start to first touch
  bool operator==(const SequenceEntry&) const = default;
};

// That a block has some of what `name` stands for, on whatever disk: a block number of metadata
// made for one disk says nothing of another's. Only equality of names counts
// (image/metadata_meanings.h).
struct Meaning {
  uint64_t block = 0;
  uint32_t name = 0;
  uint8_t amount = 0;  // how much of the block it is; only ratios within a block count
  auto operator<=>(const Meaning&) const = default;
};

// From this block on, to the next run's: the data of one file, or of several small ones.
struct FileRun {
  uint32_t first_block = 0;
  bool is_shared = false;  // of several
  auto operator<=>(const FileRun&) const = default;
};

// A component's sequence at one moment: immutable.
struct BlockSequence {
  float boots = 0;                     // how many were merged, old ones fading; 1 for a prior
  std::vector<SequenceEntry> entries;  // by rank
  std::vector<uint32_t> by_block;      // indexes of entries, by block
  std::vector<Meaning> meanings;       // ascending; of a prior of metadata, else empty
  std::vector<FileRun> file_runs;      // ascending; of a prior of a component, else empty
  // Returns the index of `block` in entries.
  std::optional<uint32_t> find(uint64_t block) const;
};

// Boot priors, by component.
using Priors = std::map<ComponentId, std::shared_ptr<const BlockSequence>>;

// Returns the sequence of these entries, ordered and indexed. REQUIRES: no block stands twice in
// them, no name twice in a block, and runs ascend.
std::shared_ptr<const BlockSequence> make_block_sequence(float boots,
                                                         std::vector<SequenceEntry> entries,
                                                         std::vector<Meaning> meanings = {},
                                                         std::vector<FileRun> file_runs = {});

// Returns the saved form. REQUIRES: not both meanings and file runs; at most the limits above.
Buffer serialize(const BlockSequence& sequence);
// Returns what was saved. ERRORS: kCorrupt, kUnsupported (a newer version), kTooLarge.
Result<std::shared_ptr<const BlockSequence>> parse_block_sequence(
    ByteView saved, uint32_t blocks_max = kSequenceBlocksMax);

// The largest values that a saved sequence may hold.
inline constexpr float kSequenceBootsMax = 1e6f;
inline constexpr float kSequenceRankMax = 1e9f;
inline constexpr float kSequenceTimeMaxS = 1e7f;

}  // namespace forerun::predict
