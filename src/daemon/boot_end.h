// Tells when a boot is over that could be foreseen: when what was foreseen of it is exhausted. A
// guest that goes on reading, and reads nothing more of that, is at work; one that still reads of
// it boots, however long that takes on a busy host.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_set>

#include "core/id.h"
#include "core/time.h"
#include "predict/arbiter.h"
#include "trace/access.h"

namespace forerun::daemon {

// One session's. One thread. State: blocks_max keys.
class BootEnd {
 public:
  struct Options {
    uint32_t foreseen_min = 64;                  // blocks: of less nothing can be told
    uint32_t reads = 512;                        // in a row without a block of those foreseen …
    Nanos span = std::chrono::seconds(15);       // … and for so long
    Nanos pause_max = std::chrono::seconds(30);  // between two of them while it goes on
    uint32_t blocks_max = 1 << 16;
  };
  BootEnd() : BootEnd(Options{}) {}
  explicit BootEnd(Options options) : options_(options) {}

  // Such a model's words are what the boot is known by: a history's or a prior's.
  void on_foreseen(std::span<const predict::Proposal> proposals, const predict::Arbiter& arbiter);
  void on_read(const trace::Access& access, Time now);
  bool is_over(Time now) const;
  // Returns whether the guest still reads what was foreseen.
  bool goes_on(Time now) const;

 private:
  struct Hash {
    size_t operator()(const std::pair<ComponentId, uint64_t>& key) const {
      return (key.first.value * 0x9e3779b97f4a7c15u) ^ (key.second * 0xff51afd7ed558ccdu);
    }
  };

  Options options_;
  std::unordered_set<std::pair<ComponentId, uint64_t>, Hash> foreseen_;  // and not read yet
  uint32_t count_ = 0;                                                   // ever foreseen
  uint32_t reads_since_ = 0;                                             // the last that was
  Time last_{};
  bool has_read_ = false;
};

}  // namespace forerun::daemon
