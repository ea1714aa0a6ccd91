#include "place/policies.h"

#include <charconv>

#include "place/balancers.h"
#include "place/forerun_policy.h"
#include "place/reference_policies.h"

namespace forerun::place {
namespace {

constexpr std::string_view kForerunAt = "forerun@";

std::unique_ptr<SimPolicy> forerun_at(std::string_view load) {
  PlannerOptions options;
  const auto [stop, error] = std::from_chars(load.data(), load.data() + load.size(), options.fill);
  if (error != std::errc{} || stop != load.data() + load.size() || !(options.fill > 0) ||
      options.fill > 1)
    return nullptr;
  options.over_mean = options.fill;
  return std::make_unique<ForerunPolicy>(options);
}

}  // namespace

std::vector<std::string_view> policy_names() {
  auto names = reference_policy_names();
  for (const auto name : balancer_names()) names.push_back(name);
  names.push_back("forerun");
  return names;
}

std::unique_ptr<SimPolicy> make_policy(std::string_view name, uint64_t seed) {
  if (name == "forerun") return std::make_unique<ForerunPolicy>();
  if (name.starts_with(kForerunAt)) return forerun_at(name.substr(kForerunAt.size()));
  if (auto balancer = make_balancer(name, seed)) return balancer;
  return make_reference_policy(name);
}

}  // namespace forerun::place
