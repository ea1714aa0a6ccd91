// The models by name. A new model is one file and one line in registry.cpp.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/id.h"
#include "core/result.h"
#include "predict/model.h"
#include "predict/prior.h"
#include "predict/replay.h"
#include "predict/rnn.h"
#include "predict/successor.h"

namespace forerun::predict {

// What models of one VM session may need beside their own defaults.
struct ModelNeeds {
  std::vector<ComponentId> components;  // the VM's, in the order of its disk
  std::shared_ptr<ReplayHistory>
      history;  // the host's; null: replay starts without a past and teaches nobody
  std::shared_ptr<SuccessorStatistics> successors;  // the host's; null: as history
  std::shared_ptr<RnnTrainer> rnn;  // the host's; null: one of its own, from the pretrained network
  Priors priors;                    // boot priors by component; none for one that has none
  uint32_t block_bytes = 64 * 1024;  // the unit of Access::first_block
};

// Returns the names of all models. The first ones, in their order, are those that a disk's boot is
// foreseen with unless others are named.
std::span<const std::string_view> model_names();
std::span<const std::string_view> default_model_names();
// Returns one new model. ERRORS: kNotFound for an unknown name.
Result<std::unique_ptr<Model>> make_model(std::string_view name, const ModelNeeds& needs);
// Returns one of each named; the default ones if `names` is empty. ERRORS: as make_model; kInvalid
// for a repeated name.
Result<std::vector<std::unique_ptr<Model>>> make_models(std::span<const std::string> names,
                                                        const ModelNeeds& needs);

}  // namespace forerun::predict
