// Fuzzes the readers of what is saved of models and components, and of what is taken to another
// host. A checksum hides what is behind it from a fuzzer, so the input is a body, and is sealed
// here.
#include <algorithm>

#include "predict/component_history.h"
#include "predict/registry.h"
#include "predict/saved_form.h"
#include "predict/successor.h"
#include "predict/vm_history.h"

using namespace forerun;
using namespace forerun::predict;

namespace {

void require(bool condition) {
  if (!condition) __builtin_trap();
}

bool same(const Buffer& a, ByteView b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

Buffer sealed(SavedKind kind, uint32_t version, ByteView body) {
  ByteWriter out = begin_saved(kind, version);
  out.bytes(body);
  return seal(std::move(out));
}

// What a model takes, it gives back as it was, and can go on from.
void restore(std::string_view name, ByteView saved) {
  const std::vector<ComponentId> components = {ComponentId{5}, kNoComponent, ComponentId{2}};
  const auto model = make_model(name, {});
  const size_t bytes = (*model)->state_bytes();
  if (!(*model)->restore(saved, components)) {
    require((*model)->state_bytes() == bytes);
    return;
  }
  std::vector<Candidate> out;
  for (uint64_t i = 0; i < 8; ++i)
    (*model)->on_access({.at = kTimeZero + i * 1ms,
                         .component = components[i % 3 == 0 ? 0 : 2],
                         .first_block = i * i,
                         .block_count = 1},
                        out);
  for (const Candidate& one : out) require(one.confidence > 0 && one.confidence < 1);
}

void read(ByteView saved) {
  if (const auto history = parse_component_history(saved)) {
    require(history->entries.size() <= kSequenceBlocksMax);
    ComponentHistory merged = *history;
    merge_history(merged, *history, {});
    require(merged.kinds.size() == history->kinds.size());
    require(parse_component_history(serialize(merged)).has_value());
  }
  if (const auto table = parse_successor_table(saved, 8192))
    require(same(serialize(*table), saved));
  if (const auto models = parse_saved_models(saved)) {
    for (const auto& one : models->models) require(!one.name.empty() && !one.state.empty());
    require(models->components.size() <= SavedModels::kComponentsMax);
    require(std::ranges::all_of(models->models, [](const auto& one) {
      return one.name.find_first_of("/.") == std::string::npos;
    }));
    require(same(serialize(*models), saved));
  }
  if (const auto history = parse_vm_history(saved)) {
    require(is_valid_name(history->vm));
    require(same(*serialize(*history), saved));
  }
}

// A network's numbers are too many for a fuzzer to find: they are there, and the rest is its own.
void read_rnn(ByteView tail) {
  ByteWriter body;
  body.bytes(ByteView(serialize(RnnNet())).subspan(kSavedHeadBytes, 12 + 4 * RnnNet::size()));
  body.bytes(tail);
  // Gaps that nobody saw, up to the length.
  const size_t whole = 12 + 4 * RnnNet::size() + 4 + 4 + 12 * (35 + 256);
  while (body.size() < whole) body.u8(0);
  restore("rnn", sealed(SavedKind::kRnn, 1, body.view()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const ByteView input(reinterpret_cast<const std::byte*>(data), size);
  read(input);
  for (const SavedKind kind :
       {SavedKind::kHistory, SavedKind::kSuccessors, SavedKind::kVmModels, SavedKind::kVmHistory})
    read(sealed(kind, kind == SavedKind::kHistory ? 2 : 1, input));
  read_rnn(input);
  restore("markov", sealed(SavedKind::kMarkov, 1, input));
  restore("association", sealed(SavedKind::kAssociation, 1, input));
  return 0;
}
