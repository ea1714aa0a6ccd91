// Plans of where VMs run, as the API asks for them. Answers about plans are JSON that src/place
// writes: docs/plan.md.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/service.h"

namespace forerun::api {

struct PlanRequest {
  std::vector<std::string> supposed;  // questions, each laid over the fleet
};
inline constexpr size_t kPlanQuestionsMax = 32;

// Whether plans are carried out without being asked, and by which rules they are made.
struct PlanPolicyInfo {
  bool is_auto = false;
  bool acts_here = false;    // this host is the one that plans for all
  std::string planner;       // that one; empty: nobody
  std::string detail;        // what came of the last round
  std::string rules = "{}";  // JSON
};
// What is not said stays.
struct PlanPolicyRequest {
  std::optional<bool> is_auto;
  std::optional<std::string> rules;  // JSON
};

// Thread-safe, as Service.
class PlanService {
 public:
  virtual ~PlanService() = default;

  // Returns which VMs had better move, and why. ERRORS: kInvalid, kNotFound: of a question.
  virtual Result<std::string> plan(const PlanRequest& request) = 0;
  // Returns the fleet as it is planned: forerun plan show --fleet takes it.
  virtual Result<std::string> plan_fleet() = 0;
  // Starts to make the moves of the plan, and returns the operation. ERRORS: kExists: they are
  // being made; kDenied: another host plans.
  virtual Result<OperationInfo> apply_plan() = 0;
  // Returns planned moves and what came of them; of a VM, or all without a name.
  virtual std::string plan_moves(const std::string& vm) = 0;
  virtual PlanPolicyInfo plan_policy() = 0;
  // ERRORS: kInvalid: the rules; kIo, kNoSpace: it stays as it was.
  virtual Status set_plan_policy(const PlanPolicyRequest& request) = 0;
};

// ERRORS: kInvalid, kTooLarge.
Result<PlanRequest> parse_plan_request(std::string_view body);  // empty: no questions
Result<PlanPolicyRequest> parse_plan_policy_request(std::string_view body);
std::string to_json(const PlanPolicyInfo& policy);

}  // namespace forerun::api
