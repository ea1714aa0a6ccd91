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

// A name as a template argument.
template <size_t size>
struct Name {
  // NOLINTNEXTLINE(google-explicit-constructor): so that a literal is one
  consteval Name(const char (&literal)[size]) { std::copy_n(literal, size, text); }
  char text[size];
};

// All models of a disk at work behind the arbiter, but one.
template <Name without>
std::unique_ptr<BlockMethod> arbiter(const BlockMethodNeeds& needs) {
  std::vector<std::string> models = {"sequential", "stride", "markov", "association", "rnn"};
  std::erase(models, without.text);
  const std::string_view left_out = without.text;
  return make_model_method(left_out.empty() ? "arbiter" : fmt::format("arbiter_no_{}", left_out),
                           models, needs.block_bytes);
}

// One of them alone.
template <Name model>
std::unique_ptr<BlockMethod> single(const BlockMethodNeeds& needs) {
  return make_model_method(model.text, needs.block_bytes);
}

constexpr std::array kEntries = {
    Entry{"none", [](const BlockMethodNeeds&) -> std::unique_ptr<BlockMethod> { return nullptr; }},
    Entry{"obl", peer<OneBlockLookahead>},
    Entry{"readahead", peer<Readahead>},
    Entry{"leap", peer<LeapPeer>},
    Entry{"markov1", peer<MarkovPeer>},
    Entry{"mithril", peer<MithrilPeer>},
    Entry{"union", peer<UnionPeer>},
    Entry{"sequential", single<"sequential">},
    Entry{"stride", single<"stride">},
    Entry{"markov", single<"markov">},
    Entry{"association", single<"association">},
    Entry{"rnn", single<"rnn">},
    Entry{"arbiter", arbiter<"">},
    Entry{"arbiter_no_sequential", arbiter<"sequential">},
    Entry{"arbiter_no_stride", arbiter<"stride">},
    Entry{"arbiter_no_markov", arbiter<"markov">},
    Entry{"arbiter_no_association", arbiter<"association">},
    Entry{"arbiter_no_rnn", arbiter<"rnn">},
    Entry{"boot",
          [](const BlockMethodNeeds& needs) { return make_boot_method(needs.block_bytes); }},
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

bool is_single_method(std::string_view name) {
  constexpr std::array<std::string_view, 4> kOthers = {"none", "union", "boot", "oracle"};
  return !name.starts_with("arbiter") && std::ranges::find(kOthers, name) == kOthers.end();
}

Result<std::unique_ptr<BlockMethod>> make_block_method(std::string_view name,
                                                       const BlockMethodNeeds& needs) {
  for (const Entry& entry : kEntries)
    if (entry.name == name) return entry.make(needs);
  return fail(ErrorCode::kNotFound,
              fmt::format("no method is named '{}'; there are: {}", name, fmt::join(kNames, ", ")));
}

}  // namespace forerun::replay
