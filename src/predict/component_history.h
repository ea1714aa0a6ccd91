// What boots taught about one component: which blocks they read first, in which order and when, and
// beside which other components of the disk. The last tells what the component itself makes a guest
// read from what a companion does: in Debian's base, nginx and PostgreSQL read other libraries.
//
// So a disk that was never composed before is foreseen: each block gets the probability that it is
// read beside these companions.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "core/bytes.h"
#include "core/result.h"
#include "predict/sequence.h"

namespace forerun::predict {

struct FirstTouch {
  uint64_t block = 0;
  float time_s = 0;
};

// A component's name in every process: the first bytes of its digest.
using ComponentName = uint64_t;

struct ComponentHistory {
  static constexpr size_t kKindsMax = 16;        // the least boots of all are forgotten first
  static constexpr size_t kCompanionsMax = 320;  // of a kind; a disk has at most 257 parts

  // Boots of disks with the same components.
  struct Kind {
    std::vector<ComponentName> companions;  // ascending, without the component itself
    float boots = 0;                        // old ones fading
    bool operator==(const Kind&) const = default;
  };
  struct Entry {
    uint64_t block = 0;
    float rank = 0;                          // mean position among the first touches of a boot
    float time_s = 0;                        // mean seconds from start to first touch
    std::array<uint8_t, kKindsMax> share{};  // of each kind's boots, in 255ths: those that read it
    bool operator==(const Entry&) const = default;
  };
  std::vector<Kind> kinds;
  std::vector<Entry> entries;  // by block

  float boots() const;
  bool operator==(const ComponentHistory&) const = default;
};

struct MergeOptions {
  uint32_t blocks_max = kSequenceBlocksMax;  // per component; the least supported are dropped
  float keep = 0.8f;          // weight of a kind's earlier boots when a new one is merged
  float keep_others = 0.99f;  // and of the other kinds'
  float support_min = 0.05f;  // blocks that fewer boots of every kind read are dropped
};

// Merges one boot beside `companions` (ascending): its first touches in order. `observed_s`: how
// long it was watched; blocks that earlier boots touched later than that had no chance and keep
// their share. Ignores an empty boot and repeated blocks.
void merge_boot(ComponentHistory& history, const std::vector<ComponentName>& companions,
                std::span<const FirstTouch> boot, float observed_s, const MergeOptions& options);

// Adds what another host learned: kinds of boots that both know count as the boots of both, up to
// what so many boots in a row would count.
void merge_history(ComponentHistory& history, const ComponentHistory& other,
                   const MergeOptions& options);
// Returns what boots beside exactly these companions taught; no kinds if there were none.
ComponentHistory only_beside(const ComponentHistory& history,
                             const std::vector<ComponentName>& companions);

// Returns what a boot beside `companions` (ascending) will read; support is the probability.
//
// Hypotheses of a block, weighed by how they explain the boots so far: every boot reads it; those
// beside one certain companion do; those beside any of several; or it comes by chance. Boots of the
// very same disk count beyond that. Where this disk never booted, its boot prior (null: it has none
// for this component) is a further witness: which of several companions a block belongs to, it
// often knows. weight_of (empty: all weigh the same): how likely a companion is to be the one, of
// several that were never seen apart.
//
// is_everywhere: the component is on every disk, so that others ask of it what they need. Where its
// blocks could be every boot's, or only of companions that all boots had and this disk has not, the
// prior tells more: how many of those blocks it says tells how many are every boot's.
using WeightOf = std::function<double(ComponentName companion)>;
std::shared_ptr<const BlockSequence> foresee(const ComponentHistory& history,
                                             const std::vector<ComponentName>& companions,
                                             const BlockSequence* prior = nullptr,
                                             const WeightOf& weight_of = {},
                                             bool is_everywhere = false);

// Returns the saved form: docs/format_history.md.
Buffer serialize(const ComponentHistory& history);
// Returns what was saved, also by version 1. ERRORS: kCorrupt, kUnsupported (a newer version),
// kTooLarge.
Result<ComponentHistory> parse_component_history(ByteView saved,
                                                 uint32_t blocks_max = kSequenceBlocksMax);

}  // namespace forerun::predict
