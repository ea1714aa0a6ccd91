#include "place/policies.h"

#include "place/reference_policies.h"

namespace forerun::place {

std::vector<std::string_view> policy_names() { return reference_policy_names(); }

std::unique_ptr<SimPolicy> make_policy(std::string_view name) {
  return make_reference_policy(name);
}

}  // namespace forerun::place
