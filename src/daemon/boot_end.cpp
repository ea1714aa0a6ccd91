#include "daemon/boot_end.h"

#include <utility>

namespace forerun::daemon {

void BootEnd::on_foreseen(std::span<const predict::Proposal> proposals,
                          const predict::Arbiter& arbiter) {
  for (const predict::Proposal& proposal : proposals) {
    if (arbiter.models()[proposal.model]->coverage(proposal.component) <= 0) continue;
    for (uint32_t i = 0; i < proposal.block_count; ++i) {
      if (foreseen_.size() >= options_.blocks_max) return;
      if (foreseen_.emplace(proposal.component, proposal.first_block + i).second) ++count_;
    }
  }
}

void BootEnd::on_read(const trace::Access& access, Time now) {
  bool was_foreseen = false;
  for (uint32_t i = 0; i < access.block_count; ++i)
    was_foreseen |= foreseen_.erase({access.component, access.first_block + i}) > 0;
  const bool is_first = !std::exchange(has_read_, true);
  if (was_foreseen || is_first) {
    last_ = now;
    reads_since_ = 0;
  } else {
    ++reads_since_;
  }
}

bool BootEnd::is_over(Time now) const {
  return count_ >= options_.foreseen_min && reads_since_ >= options_.reads &&
         now - last_ >= options_.span;
}

bool BootEnd::goes_on(Time now) const {
  return count_ >= options_.foreseen_min && !foreseen_.empty() && now - last_ < options_.pause_max;
}

}  // namespace forerun::daemon
