// What is taken along with a VM to another host, so that it is foreseen there as it was here: its
// models' state, and what its disk's components taught. docs/format_history.md.
#pragma once

#include <string>
#include <vector>

#include "core/id.h"
#include "predict/saved_models.h"

namespace forerun::predict {

struct VmHistory {
  static constexpr uint64_t kBytesMax = 128 << 20;

  // What is known of one component of the disk, in the forms of its files; either may be empty.
  struct Part {
    Digest component;
    Buffer replay, successors;
    bool operator==(const Part&) const = default;
  };
  std::string vm;      // its name where it was; for people
  std::string tenant;  // whose it was; empty: nobody's
  Digest disk;         // what it began as
  SavedModels models;
  std::vector<Part> parts;  // each component once
  bool operator==(const VmHistory&) const = default;
};

// Returns the saved form. ERRORS: kTooLarge.
Result<Buffer> serialize(const VmHistory& history);
// Returns what was saved, with every form in it read once: replay histories, successors, and the
// states of models, each of which some model of this version takes. ERRORS: kCorrupt, kTooLarge,
// kUnsupported; the message says in which part.
Result<VmHistory> parse_vm_history(ByteView saved);

}  // namespace forerun::predict
