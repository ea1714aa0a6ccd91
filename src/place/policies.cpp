#include "place/policies.h"

#include "place/forerun_policy.h"
#include "place/reference_policies.h"

namespace forerun::place {

std::vector<std::string_view> policy_names() {
  auto names = reference_policy_names();
  names.push_back("forerun");
  return names;
}

std::unique_ptr<SimPolicy> make_policy(std::string_view name) {
  if (name == "forerun") return std::make_unique<ForerunPolicy>();
  return make_reference_policy(name);
}

}  // namespace forerun::place
