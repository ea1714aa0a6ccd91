#include "daemon/plan_cluster.h"

#include <boost/json.hpp>

namespace forerun::daemon {
namespace {

namespace json = boost::json;
using cluster::ClusterState;

const std::string kPolicy = "planner";
const std::string kMoves = "moves";
constexpr int kAttempts = 3;

std::string encode(const PlanPlacement& placement) {
  json::object object{{"host", placement.host}};
  if (!placement.to.empty()) object["to"] = placement.to;
  return json::serialize(object);
}

Result<PlanPlacement> parse_placement(const std::string& text) {
  json::error_code error;
  const json::value value = json::parse(text, error);
  const auto member = [&](std::string_view name) -> std::string {
    const json::value* found = value.is_object() ? value.get_object().if_contains(name) : nullptr;
    return found != nullptr && found->is_string() ? std::string(found->get_string()) : "";
  };
  PlanPlacement placement{member("host"), member("to")};
  if (error || placement.host.empty())
    return fail(ErrorCode::kCorrupt, "it does not say where the VM is");
  return placement;
}

// A policy is kept as the API takes it.
std::string encode(const PlanCluster::Policy& policy) {
  return fmt::format(R"({{"mode":"{}","rules":{}}})", policy.is_auto ? "auto" : "off",
                     policy.rules);
}

Result<PlanCluster::Policy> parse_policy(const cluster::Document& document) {
  auto read = api::parse_plan_policy_request(document.json);
  if (!read)
    return fail(ErrorCode::kCorrupt,
                fmt::format("the cluster's policy \"{}\": {}", kPolicy, read.error().message));
  return PlanCluster::Policy{read->is_auto.value_or(false), read->rules.value_or("{}"),
                             document.revision};
}

}  // namespace

Result<PlanCluster::Policy> PlanCluster::policy() {
  FR_CHECK(parts_.answers());
  FR_TRY(const auto kept, parts_.state.get_policy(kPolicy));
  return kept ? parse_policy(*kept) : Policy{};
}

Result<PlanCluster::Policy> PlanCluster::change_policy(const api::PlanPolicyRequest& request) {
  for (int attempt = 1;; ++attempt) {
    FR_TRY(Policy policy, this->policy());
    policy.is_auto = request.is_auto.value_or(policy.is_auto);
    policy.rules = request.rules.value_or(policy.rules);
    cluster::Document changed;
    changed.json = encode(policy);
    changed.revision = policy.revision;
    const auto put = parts_.state.put_policy(kPolicy, changed);
    if (put) {
      policy.revision = *put;
      return policy;
    }
    if (put.error().code != ErrorCode::kExists || attempt == kAttempts)
      return std::unexpected(put.error());
  }
}

Status PlanCluster::publish(uint64_t token, std::string json) {
  cluster::Document plan;
  plan.token = token;
  // What a fleet of thousands of hosts needs is more than a store of this kind takes.
  plan.json = json.size() <= cluster::kValueBytesMax / 2
                  ? std::move(json)
                  : fmt::format(R"({{"omitted":"a plan of {} bytes"}})", json.size());
  FR_CHECK(parts_.state.put_plan(plan));
  return {};
}

Result<std::optional<std::string>> PlanCluster::memory(const std::string& name) {
  FR_CHECK(parts_.answers());
  FR_TRY(auto kept, parts_.state.get_memory(name));
  if (!kept) return std::nullopt;
  return std::optional(std::move(kept->json));
}

Status PlanCluster::keep_affinity(uint64_t token, std::string json) {
  const ClusterState::LeaderChange change{ClusterState::LeaderChange::Of::kMemory, "affinity",
                                          std::move(json)};
  FR_CHECK(parts_.state.change_as_leader(token, {&change, 1}));
  return {};
}

Result<std::map<std::string, PlanPlacement>> PlanCluster::placements() {
  FR_CHECK(parts_.answers());
  FR_TRY(const auto kept, parts_.state.placements());
  std::map<std::string, PlanPlacement> placements;
  for (const cluster::NamedDocument& each : kept) {
    auto placement = parse_placement(each.document.json);
    if (!placement)
      return std::unexpected(std::move(placement.error()).within("placement of VM " + each.name));
    placements[each.name] = std::move(*placement);
  }
  return placements;
}

Status PlanCluster::keep(uint64_t token, std::optional<std::string> moves, const Changes& changes) {
  using Change = ClusterState::LeaderChange;
  std::vector<Change> batch;
  if (moves) batch.push_back({Change::Of::kMemory, kMoves, std::move(moves)});
  const auto flush = [&]() -> Status {
    if (batch.empty()) return {};
    FR_CHECK(parts_.state.change_as_leader(token, batch));
    batch.clear();
    return {};
  };
  for (const auto& [vm, placement] : changes) {
    if (batch.size() == cluster::kTransactionChangesMax) FR_CHECK(flush());
    Change& change = batch.emplace_back(Change{Change::Of::kPlacement, vm, std::nullopt});
    if (placement) change.json = encode(*placement);
  }
  return flush();
}

}  // namespace forerun::daemon
