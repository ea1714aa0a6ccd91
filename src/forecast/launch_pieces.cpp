#include "forecast/launch_pieces.h"

#include <fmt/core.h>

#include <array>
#include <set>

#include "forecast/cell_pieces.h"
#include "forecast/network_piece.h"
#include "forecast/volume_piece.h"

namespace forerun::forecast {
namespace {

struct Entry {
  std::string_view name;
  std::unique_ptr<LaunchPiece> (*make)(const LaunchShape&);
};

template <typename Piece>
std::unique_ptr<LaunchPiece> make(const LaunchShape& shape) {
  return std::make_unique<Piece>(shape);
}

constexpr std::array kEntries = {
    Entry{VolumePiece::kName, make<VolumePiece>},
    Entry{DecayedCounts::kName, make<DecayedCounts>},
    Entry{SeasonalCells::kName, make<SeasonalCells>},
    Entry{Recency::kName, make<Recency>},
    Entry{Burst::kName, make<Burst>},
    Entry{NetworkPiece::kName, make<NetworkPiece>},
};

constexpr auto kNames = [] {
  std::array<std::string_view, kEntries.size()> names;
  for (size_t i = 0; i < kEntries.size(); ++i) names[i] = kEntries[i].name;
  return names;
}();

}  // namespace

std::span<const std::string_view> launch_piece_names() { return kNames; }

Result<std::unique_ptr<LaunchPiece>> make_launch_piece(std::string_view name,
                                                       const LaunchShape& shape) {
  for (const Entry& entry : kEntries)
    if (entry.name == name) return entry.make(shape);
  return fail(ErrorCode::kNotFound,
              fmt::format("no piece of launch prediction is named '{}'", name));
}

Result<std::vector<std::unique_ptr<LaunchPiece>>> make_launch_pieces(
    std::span<const std::string> names, const LaunchShape& shape) {
  std::vector<std::unique_ptr<LaunchPiece>> pieces;
  std::set<std::string_view> seen;
  if (names.empty())
    for (const Entry& entry : kEntries) pieces.push_back(entry.make(shape));
  for (const std::string& name : names) {
    if (!seen.insert(name).second)
      return fail(ErrorCode::kInvalid, fmt::format("the piece '{}' is named twice", name));
    FR_TRY(auto piece, make_launch_piece(name, shape));
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

}  // namespace forerun::forecast
