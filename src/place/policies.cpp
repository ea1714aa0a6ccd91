#include "place/policies.h"

#include "place/balancers.h"
#include "place/forerun_policy.h"
#include "place/reference_policies.h"

namespace forerun::place {

std::vector<std::string_view> policy_names() {
  auto names = reference_policy_names();
  for (const auto name : balancer_names()) names.push_back(name);
  names.push_back("forerun");
  return names;
}

std::unique_ptr<SimPolicy> make_policy(std::string_view name, uint64_t seed) {
  if (name == "forerun") return std::make_unique<ForerunPolicy>();
  if (auto balancer = make_balancer(name, seed)) return balancer;
  return make_reference_policy(name);
}

}  // namespace forerun::place
