#include "image/component_prior.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "image/boot_prior.h"

namespace forerun::image {
namespace {

constexpr float kCompositionsMax = 16;
constexpr float kSupportMin = 0.05f;  // of a block that hardly any composition foresees

}  // namespace

std::string component_prior_path(const Digest& component) {
  return fmt::format("{}/{}", kComponentPriorFolder, component.hex());
}

std::shared_ptr<const predict::BlockSequence> united(const predict::BlockSequence& known,
                                                     const predict::BlockSequence& next) {
  const float before = std::min(known.boots, kCompositionsMax - 1), all = before + 1;
  std::map<uint64_t, predict::SequenceEntry> blocks;
  for (const predict::SequenceEntry& entry : known.entries) {
    predict::SequenceEntry& block = blocks[entry.block] = entry;
    block.support *= before / all;
  }
  for (const predict::SequenceEntry& entry : next.entries) {
    const auto [found, is_new] = blocks.try_emplace(entry.block, entry);
    predict::SequenceEntry& block = found->second;
    if (is_new) {
      block.support = entry.support / all;
      continue;
    }
    block.support += entry.support / all;
    block.rank += (entry.rank - block.rank) / all;
    block.time_s += (entry.time_s - block.time_s) / all;
  }
  std::vector<predict::SequenceEntry> entries;
  for (const auto& [number, block] : blocks)
    if (block.support >= kSupportMin) entries.push_back(block);
  // One component has one layout, whichever composition told it.
  return predict::make_block_sequence(all, std::move(entries), {},
                                      next.file_runs.empty() ? known.file_runs : next.file_runs);
}

Status learn_component_prior(const Digest& component, const predict::BlockSequence& next,
                             repository::Store& store) {
  const std::string path = component_prior_path(component);
  const auto known = fetch_prior(store, path);
  return store.put(path, predict::serialize(known ? *united(**known, next) : next));
}

}  // namespace forerun::image
