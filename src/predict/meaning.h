// What boots taught of one disk's metadata, said of another's. No other disk has the same metadata,
// so it has no history; but what its blocks mean (sequence.h, Meaning) other disks have too, in
// other places. What boots read is learned by name, beside the disk's components like any history
// (component_history.h), and put into the blocks of the new disk by what these mean.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "predict/component_history.h"
#include "predict/sequence.h"

namespace forerun::predict {

// Returns a boot's first touches as names, each once: whatever a touched block means was read with
// it.
std::vector<FirstTouch> touches_by_name(std::span<const FirstTouch> boot,
                                        std::span<const Meaning> meanings);

// Returns which blocks will be read, given which names will (`names`: a sequence with names in the
// place of blocks). A block is as probable as what it means is in the mean, and due when the first
// of its probable names is. Null if nothing is probable.
std::shared_ptr<const BlockSequence> blocks_of_names(const BlockSequence& names,
                                                     std::span<const Meaning> meanings);

}  // namespace forerun::predict
