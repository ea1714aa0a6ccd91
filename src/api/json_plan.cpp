#include <boost/json.hpp>

#include "api/json_in.h"
#include "api/plan_service.h"

namespace forerun::api {

namespace json = boost::json;

namespace {

Result<json::object> object_of(std::string_view body) {
  if (body.size() > kRequestBytesMax)
    return fail(ErrorCode::kTooLarge, fmt::format("over {} bytes", kRequestBytesMax));
  json::error_code error;
  json::parse_options options;
  options.max_depth = kRequestDepthMax;
  const json::value value = json::parse(body.empty() ? "{}" : body, error, {}, options);
  if (error || !value.is_object()) return fail(ErrorCode::kInvalid, "the body is no JSON object");
  return value.get_object();
}

}  // namespace

Result<PlanRequest> parse_plan_request(std::string_view body) {
  FR_TRY(const json::object object, object_of(body));
  PlanRequest request;
  const json::value* questions = object.if_contains("if");
  if (questions == nullptr) return request;
  if (!questions->is_array() || questions->get_array().size() > kPlanQuestionsMax)
    return fail(ErrorCode::kInvalid,
                fmt::format("if must be a list of at most {} questions", kPlanQuestionsMax));
  for (const json::value& question : questions->get_array()) {
    if (!question.is_string()) return fail(ErrorCode::kInvalid, "if must be a list of strings");
    request.supposed.emplace_back(question.get_string());
  }
  return request;
}

Result<PlanPolicyRequest> parse_plan_policy_request(std::string_view body) {
  FR_TRY(const json::object object, object_of(body));
  PlanPolicyRequest request;
  if (const json::value* mode = object.if_contains("mode")) {
    if (!mode->is_string() || (mode->get_string() != "auto" && mode->get_string() != "off"))
      return fail(ErrorCode::kInvalid, "mode must be auto or off");
    request.is_auto = mode->get_string() == "auto";
  }
  if (const json::value* rules = object.if_contains("rules")) {
    if (!rules->is_object()) return fail(ErrorCode::kInvalid, "rules must be an object");
    request.rules = json::serialize(*rules);
  }
  return request;
}

std::string to_json(const PlanPolicyInfo& policy) {
  json::error_code error;
  json::value rules = json::parse(policy.rules, error);
  return json::serialize(json::value{{"mode", policy.is_auto ? "auto" : "off"},
                                     {"acts_here", policy.acts_here},
                                     {"planner", policy.planner},
                                     {"detail", policy.detail},
                                     {"rules", std::move(rules)}});
}

}  // namespace forerun::api
