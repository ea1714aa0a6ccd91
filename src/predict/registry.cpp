#include "predict/registry.h"

#include <algorithm>
#include <array>

#include "predict/association.h"
#include "predict/leap.h"
#include "predict/markov.h"
#include "predict/neighbourhood.h"
#include "predict/rnn_pretrain.h"
#include "predict/sequential.h"
#include "predict/stride.h"

namespace forerun::predict {
namespace {

using Maker = std::unique_ptr<Model> (*)(const ModelNeeds&);

struct Entry {
  std::string_view name;
  Maker make;
};

std::unique_ptr<Model> make_replay(const ModelNeeds& needs) {
  auto history = needs.history ? needs.history : std::make_shared<ReplayHistory>();
  return std::make_unique<ReplayModel>(ReplayModel::Options{}, std::move(history), needs.components,
                                       needs.priors);
}

constexpr std::array kModels{
    Entry{"replay", make_replay},
    Entry{"prior",
          [](const ModelNeeds& needs) -> std::unique_ptr<Model> {
            return std::make_unique<PriorModel>(PriorModel::Options{}, needs.components,
                                                needs.priors);
          }},
    Entry{"sequential",
          [](const ModelNeeds& needs) -> std::unique_ptr<Model> {
            return std::make_unique<SequentialModel>(
                SequentialModel::for_blocks(needs.block_bytes));
          }},
    Entry{"stride",
          [](const ModelNeeds&) -> std::unique_ptr<Model> {
            return std::make_unique<StrideModel>();
          }},
    Entry{"successor",
          [](const ModelNeeds& needs) -> std::unique_ptr<Model> {
            return std::make_unique<SuccessorModel>(
                SuccessorModel::Options{},
                needs.successors ? needs.successors : std::make_shared<SuccessorStatistics>());
          }},
    Entry{"neighbourhood",
          [](const ModelNeeds& needs) -> std::unique_ptr<Model> {
            return std::make_unique<NeighbourhoodModel>(NeighbourhoodModel::Options{},
                                                        needs.priors);
          }},
    // Not used by default: measured on disks at work (docs/replay.md), not on boots.
    Entry{
        "leap",
        [](const ModelNeeds&) -> std::unique_ptr<Model> { return std::make_unique<LeapModel>(); }},
    Entry{"markov",
          [](const ModelNeeds&) -> std::unique_ptr<Model> {
            return std::make_unique<MarkovModel>();
          }},
    Entry{"association",
          [](const ModelNeeds&) -> std::unique_ptr<Model> {
            return std::make_unique<AssociationModel>();
          }},
    Entry{"rnn",
          [](const ModelNeeds& needs) -> std::unique_ptr<Model> {
            return std::make_unique<RnnModel>(
                RnnModel::Options{},
                needs.rnn ? needs.rnn
                          : std::make_shared<RnnTrainer>(RnnTrainer::Options{}, pretrained_rnn()));
          }},
};
constexpr size_t kDefaultModels = 6;

constexpr auto kNames = [] {
  std::array<std::string_view, kModels.size()> names{};
  for (size_t i = 0; i < names.size(); ++i) names[i] = kModels[i].name;
  return names;
}();

}  // namespace

std::span<const std::string_view> model_names() { return kNames; }

std::span<const std::string_view> default_model_names() {
  return std::span(kNames).first(kDefaultModels);
}

Result<std::unique_ptr<Model>> make_model(std::string_view name, const ModelNeeds& needs) {
  const auto found = std::find_if(kModels.begin(), kModels.end(),
                                  [&](const Entry& entry) { return entry.name == name; });
  if (found == kModels.end())
    return fail(ErrorCode::kNotFound, fmt::format("no model is named '{}'; there are: {}", name,
                                                  fmt::join(kNames, ", ")));
  return found->make(needs);
}

Result<std::vector<std::unique_ptr<Model>>> make_models(std::span<const std::string> names,
                                                        const ModelNeeds& needs) {
  std::vector<std::string_view> wanted(names.begin(), names.end());
  if (wanted.empty()) {
    const auto names_by_default = default_model_names();
    wanted.assign(names_by_default.begin(), names_by_default.end());
  }
  std::vector<std::unique_ptr<Model>> models;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (std::find(wanted.begin(), wanted.begin() + static_cast<ptrdiff_t>(i), wanted[i]) !=
        wanted.begin() + static_cast<ptrdiff_t>(i))
      return fail(ErrorCode::kInvalid, fmt::format("model '{}' is named twice", wanted[i]));
    FR_TRY(auto model, make_model(wanted[i], needs));
    models.push_back(std::move(model));
  }
  return models;
}

}  // namespace forerun::predict
