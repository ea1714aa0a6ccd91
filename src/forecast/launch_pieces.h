// The pieces by name. A new piece is a class here and one line in the registry below.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "forecast/launch.h"

namespace forerun::forecast {

// Returns the names of all pieces in the order in which the engine uses them by default.
std::span<const std::string_view> launch_piece_names();
// ERRORS: kNotFound for an unknown name.
Result<std::unique_ptr<LaunchPiece>> make_launch_piece(std::string_view name,
                                                       const LaunchShape& shape);
// Returns one of each named; all if `names` is empty. ERRORS: as above; kInvalid if one is
// repeated.
Result<std::vector<std::unique_ptr<LaunchPiece>>> make_launch_pieces(
    std::span<const std::string> names, const LaunchShape& shape);

}  // namespace forerun::forecast
