// A PlanService for tests.
#pragma once

#include "api/plan_service.h"

namespace forerun::api {

class FakePlanService final : public PlanService {
 public:
  Result<std::string> plan(const PlanRequest& request) override {
    asked = request;
    return std::string(R"({"as_of":"2026-09-21T14:13:20Z","supposed":[],"horizon_seconds":1800,)"
                       R"("vms":1,"hosts":[],"verdict":"no move is worth making","moves":[],)"
                       R"("unrelieved":[],"notes":[]})");
  }
  Result<std::string> plan_fleet() override { return std::string(R"({"hosts":[]})"); }
  Result<OperationInfo> apply_plan() override {
    OperationInfo operation;
    operation.id = "o-1";
    operation.kind = "plan_apply";
    operation.subject = "plan";
    operation.started_unix_seconds = 1790000000;
    return operation;
  }
  std::string plan_moves(const std::string& vm) override {
    asked_vm = vm;
    return R"({"items":[]})";
  }
  PlanPolicyInfo plan_policy() override { return policy; }
  Status set_plan_policy(const PlanPolicyRequest& request) override {
    policy.is_auto = request.is_auto.value_or(policy.is_auto);
    policy.rules = request.rules.value_or(policy.rules);
    return {};
  }

  PlanRequest asked;
  std::string asked_vm;
  PlanPolicyInfo policy{.planner = "a"};
};

}  // namespace forerun::api
