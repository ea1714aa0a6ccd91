// What a holder's room has earned by hits: the bytes of different entries that were used again, or
// were fetched ahead and used, or would have been with a little more room, within its last two
// epochs. An epoch is
// the holder's own: it lasts until the holder has brought in a multiple of its part of the cache,
// so that another one's haste does not age it; age() ends it for one that stands still.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>

namespace forerun::tier {

// One thread. A new one has earned all there is: nothing speaks against it yet.
class Earning {
 public:
  static constexpr uint32_t kPartsPerEpoch = 4;

  // `last_epoch`: of the entry, kept by the caller; 0 to begin with.
  void on_reuse(uint32_t& last_epoch, uint64_t size) {
    if (last_epoch == epoch_) return;
    last_epoch = epoch_;
    reused_ += size;
  }
  // Returns whether as much came in as is worth looking at the shares again.
  bool on_brought(uint64_t size, uint64_t part_bytes) {
    brought_ += size;
    if (brought_ < std::max<uint64_t>(part_bytes, 1)) return false;
    brought_ = 0;
    if (++parts_ >= kPartsPerEpoch) age();
    return true;
  }
  void age() {
    before_ = reused_;
    reused_ = 0;
    parts_ = 0;
    brought_ = 0;
    if (++epoch_ == 0) epoch_ = 1;
  }
  uint64_t bytes() const { return std::max(reused_, before_); }
  bool is_recent(uint32_t last_epoch) const { return last_epoch != 0 && epoch_ - last_epoch <= 1; }

 private:
  uint32_t epoch_ = 1, parts_ = 0;
  uint64_t reused_ = 0, before_ = std::numeric_limits<uint64_t>::max(), brought_ = 0;
};

}  // namespace forerun::tier
