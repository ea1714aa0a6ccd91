#include "migrate/working_set.h"

#include <algorithm>

namespace forerun::migrate {

void WorkingSet::set_blocks(const std::vector<RamBlock>& blocks) {
  blocks_ = blocks;
  heat_.clear();
  hot_pages_ = 0;
  for (const RamBlock& block : blocks) heat_.emplace_back(block.used_bytes / kPageBytes, 0);
}

void WorkingSet::warm(PageKey page, unsigned by) {
  uint8_t& heat = heat_[page.block()][page.offset() / kPageBytes];
  const bool was_hot = heat >= kHot;
  heat = static_cast<uint8_t>(std::min<unsigned>(heat + by, kMost));
  if (!was_hot && heat >= kHot) ++hot_pages_;
}

void WorkingSet::add_profile(const MemoryProfile& profile) {
  // One round shows what is written all the time; a page that came in one of several is likelier
  // than not to come again, too.
  const size_t rounds = std::max<size_t>(profile.rounds.size(), 2) - 1;
  for (const BlockProfile& known : profile.blocks) {
    const auto block = find_block(blocks_, known.block.name);
    if (!block || blocks_[*block] != known.block) continue;
    for (uint64_t page = 0; page < known.rounds_written.size(); ++page) {
      const unsigned written = known.rounds_written[page];
      if (written == 0) continue;
      warm(PageKey::of(*block, page * kPageBytes),
           static_cast<unsigned>(kMost * (2 * written + 1) /
                                 (2 * std::max<size_t>(rounds, written) + 1)));
    }
  }
}

void WorkingSet::on_written(PageKey page) { warm(page, kMost / 2); }

std::vector<RankedPage> WorkingSet::ranked(size_t pages_max) const {
  // By counting: there are 256 confidences.
  std::array<size_t, 256> counts{};
  for (const auto& block : heat_)
    for (const uint8_t heat : block) ++counts[heat];
  counts[0] = 0;
  std::array<size_t, 256> begin{};
  size_t total = 0;
  for (size_t heat = 255; heat > 0; --heat) {
    begin[heat] = total;
    total += counts[heat];
  }
  std::vector<RankedPage> pages(std::min(total, pages_max));
  for (uint32_t block = 0; block < heat_.size(); ++block) {
    for (uint64_t page = 0; page < heat_[block].size(); ++page) {
      const uint8_t heat = heat_[block][page];
      if (heat == 0) continue;
      const size_t place = begin[heat]++;
      if (place < pages.size())
        pages[place] = {PageKey::of(block, page * kPageBytes), static_cast<float>(heat) / 256};
    }
  }
  return pages;
}

}  // namespace forerun::migrate
