#include <fmt/ranges.h>

#include <algorithm>

#include "replay/model_method.h"
#include "replay/peer_methods.h"

namespace forerun::replay {
namespace {

struct Entry {
  std::string_view name;
  std::unique_ptr<BlockMethod> (*make)(const BlockMethodNeeds&);
};

template <typename Method>
std::unique_ptr<BlockMethod> peer(const BlockMethodNeeds& /*needs*/) {
  return std::make_unique<Method>();
}

constexpr std::array kEntries = {
    Entry{"none", [](const BlockMethodNeeds&) -> std::unique_ptr<BlockMethod> { return nullptr; }},
    Entry{"obl", peer<OneBlockLookahead>},
    Entry{"readahead", peer<Readahead>},
    Entry{"leap", peer<LeapPeer>},
    Entry{"markov1", peer<MarkovPeer>},
    Entry{"mithril", peer<MithrilPeer>},
    Entry{"union", peer<UnionPeer>},
    Entry{"sequential", [](const BlockMethodNeeds&) { return make_model_method("sequential"); }},
    Entry{"stride", [](const BlockMethodNeeds&) { return make_model_method("stride"); }},
    Entry{"oracle",
          [](const BlockMethodNeeds& needs) -> std::unique_ptr<BlockMethod> {
            return std::make_unique<Oracle>(needs);
          }},
};

constexpr auto kNames = [] {
  std::array<std::string_view, kEntries.size()> names;
  for (size_t i = 0; i < kEntries.size(); ++i) names[i] = kEntries[i].name;
  return names;
}();

}  // namespace

std::span<const std::string_view> block_method_names() { return kNames; }

Result<std::unique_ptr<BlockMethod>> make_block_method(std::string_view name,
                                                       const BlockMethodNeeds& needs) {
  for (const Entry& entry : kEntries)
    if (entry.name == name) return entry.make(needs);
  return fail(ErrorCode::kNotFound,
              fmt::format("no method is named '{}'; there are: {}", name, fmt::join(kNames, ", ")));
}

}  // namespace forerun::replay
