// Which pages a guest will touch soon, and how surely: from a profile before the migration, from
// the pages that came again while it was under way, and from what was out of date at the switch.
#pragma once

#include <vector>

#include "migrate/memory_profile.h"
#include "migrate/page_injector.h"

namespace forerun::migrate {

// One thread. Memory: a byte a page.
class WorkingSet {
 public:
  void set_blocks(const std::vector<RamBlock>& blocks);
  // What was written in the profile's rounds; blocks that are no longer there, or of another size,
  // are left out.
  void add_profile(const MemoryProfile& profile);
  // The page was written since it was sent: it was sent again, or is out of date at the switch.
  void on_written(PageKey page);

  // Returns whether the page is thought to be written again and again.
  bool is_hot(PageKey page) const { return heat(page) >= kHot; }
  uint64_t hot_pages() const { return hot_pages_; }
  // Returns at most `pages_max` pages that are warm at all, the surest first and, of equal ones, in
  // their order in memory, so that neighbours are asked for together.
  std::vector<RankedPage> ranked(size_t pages_max) const;

 private:
  static constexpr uint8_t kHot = 64, kMost = 240;  // of 256
  uint8_t heat(PageKey page) const { return heat_[page.block()][page.offset() / kPageBytes]; }
  void warm(PageKey page, unsigned by);

  std::vector<RamBlock> blocks_;
  std::vector<std::vector<uint8_t>> heat_;  // by block and page: the confidence, of 256
  uint64_t hot_pages_ = 0;
};

}  // namespace forerun::migrate
