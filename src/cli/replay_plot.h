// A picture of a replay: how long reads waited, and what share of misses was spared, over the
// trace.
#pragma once

#include <span>
#include <string>

#include "replay/block_replay.h"

namespace forerun::cli {

// Returns an SVG of one trace and cache, a line per method. `outcomes`: "none" first.
std::string plot_replay(std::string_view title, std::span<const replay::BlockOutcome> outcomes);

}  // namespace forerun::cli
