// Who makes the models of a VM's session, and what becomes of them. A session has two phases: the
// guest boots, then it is at work. Each has models and an arbiter of its own (docs/prediction.md).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/id.h"
#include "predict/arbiter.h"
#include "predict/prior.h"

namespace forerun::daemon {

struct SessionModels {
  using Models = std::vector<std::unique_ptr<predict::Model>>;

  // Returns the models of the boot of a VM whose disk has these components, with their priors. A
  // session that did not begin with a boot (`is_boot` false) must teach no model how they boot.
  // `tenant`: whose VM it is; empty: nobody's.
  std::function<Models(const std::vector<ComponentId>& components, const predict::Priors& priors,
                       bool is_boot, const std::string& tenant)>
      for_boot;
  // Returns the models of a VM that is at work now. None, or no function: those of the boot go on.
  std::function<Models(VmId vm, const std::vector<ComponentId>& components,
                       const std::string& tenant)>
      for_work;
  // A VM that was at work ended, and so did its models (their on_end() was called). Called without
  // any lock held.
  std::function<void(VmId vm, std::unique_ptr<predict::Arbiter> at_work)> on_work_end;
};

}  // namespace forerun::daemon
