// What the models of one VM learned, as it is kept over restarts and taken along to another host:
// docs/format_history.md.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/id.h"
#include "predict/model.h"

namespace forerun::predict {

struct SavedModels {
  static constexpr uint32_t kComponentsMax = 512;  // a disk has at most 257 parts
  static constexpr uint32_t kModelsMax = 32;
  static constexpr uint64_t kBytesMax = 64 << 20;

  struct One {
    std::string name;
    Buffer state;  // as Model::save gave it
    bool operator==(const One&) const = default;
  };
  std::vector<Digest> components;  // of the VM's disk, each once; states name them by place
  std::vector<One> models;         // each name once
  bool operator==(const SavedModels&) const = default;
};

using ModelSpan = std::span<const std::unique_ptr<Model>>;

// Returns what these models have worth keeping. `digests` name the components.
SavedModels save_models(ModelSpan models, std::span<const ComponentId> components,
                        std::span<const Digest> digests);
// Gives each model what was saved of it. `components` are those of `saved` in their order, as this
// process numbers them; kNoComponent: the disk has it no longer. Returns for each model whose state
// was of no use why, as "markov: …"; that one begins afresh.
std::vector<std::string> restore_models(const SavedModels& saved,
                                        std::span<const ComponentId> components, ModelSpan models);

// Returns the saved form.
Buffer serialize(const SavedModels& saved);
// ERRORS: kCorrupt, kTooLarge, kUnsupported. What each model saved is only looked at by that model.
Result<SavedModels> parse_saved_models(ByteView saved);

}  // namespace forerun::predict
