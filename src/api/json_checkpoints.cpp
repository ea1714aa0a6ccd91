#include <boost/json.hpp>

#include "api/json_in.h"
#include "api/json_out.h"
#include "core/id.h"
#include "os/clock.h"

namespace forerun::api {

namespace json = boost::json;

namespace {

json::object object_of(const CheckpointInfo& info) {
  return {{"vm", repair_utf8(info.vm)},
          {"number", info.number},
          {"created_at", os::format_utc(info.created_unix_seconds)},
          {"memory_bytes", info.memory_bytes},
          {"disk_bytes", info.disk_bytes},
          {"stored_bytes", info.stored_bytes},
          {"pause_ms", static_cast<double>(info.pause_us) / 1000}};
}

json::value text_or_null(const std::string& text) {
  return text.empty() ? json::value() : json::value(repair_utf8(text));
}

std::unexpected<Error> invalid(std::string what) {
  return fail(ErrorCode::kInvalid, std::move(what));
}

Result<json::object> object_of(std::string_view body) {
  if (body.size() > kRequestBytesMax)
    return fail(ErrorCode::kTooLarge, fmt::format("the body is over {} bytes", kRequestBytesMax));
  json::error_code error;
  json::parse_options options;
  options.max_depth = kRequestDepthMax;
  json::value value = json::parse(body, error, {}, options);
  if (error) return invalid(fmt::format("the body is no JSON: {}", error.message()));
  if (!value.is_object()) return invalid("the body must be a JSON object");
  return std::move(value.as_object());
}

// Returns the member, null if it is absent or null.
const json::value* find(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value != nullptr && !value->is_null() ? value : nullptr;
}

Result<uint64_t> whole(const json::value& value, std::string_view key, uint64_t min, uint64_t max) {
  json::error_code error;
  const uint64_t found = value.is_number() ? value.to_number<uint64_t>(error) : 0;
  if (!value.is_number() || error || found < min || found > max)
    return invalid(fmt::format("{} must be a whole number from {} to {}", key, min, max));
  return found;
}

Result<std::string> host(const json::value& value, std::string_view key) {
  const std::string name = value.is_string() ? std::string(value.as_string()) : "";
  if (!value.is_string() || (!name.empty() && !is_valid_name(name)))
    return invalid(fmt::format("{} must name a host", key));
  return name;
}

}  // namespace

Result<CheckpointPolicyRequest> parse_checkpoint_policy_request(std::string_view body) {
  FR_TRY(const json::object object, object_of(body));
  CheckpointPolicyRequest request;
  if (const json::value* is_auto = find(object, "auto")) {
    if (!is_auto->is_bool()) return invalid("auto must be true or false");
    request.is_auto = is_auto->as_bool();
  }
  if (const json::value* budget = find(object, "budget_ratio")) {
    if (!budget->is_number()) return invalid("budget_ratio must be a number");
    request.budget_ratio = budget->to_number<double>();
  }
  if (const json::value* keep = find(object, "keep")) {
    FR_TRY(request.keep, whole(*keep, "keep", 1, 1000));
  }
  if (const json::value* copies_to = find(object, "copies_to")) {
    FR_TRY(request.copies_to, host(*copies_to, "copies_to"));
  }
  return request;
}

Result<CheckpointCopyRequest> parse_checkpoint_copy_request(std::string_view body) {
  FR_TRY(const json::object object, object_of(body));
  CheckpointCopyRequest request;
  const json::value* to = find(object, "to");
  if (to == nullptr) return invalid("to must name a host");
  FR_TRY(request.to, host(*to, "to"));
  if (request.to.empty()) return invalid("to must name a host");
  if (const json::value* rate = find(object, "rate_bytes_per_s_max")) {
    FR_TRY(request.rate_bytes_per_s_max, whole(*rate, "rate_bytes_per_s_max", 0, INT64_MAX));
  }
  return request;
}

Result<RestoreRequest> parse_restore_request(std::string_view body) {
  FR_TRY(const json::object object, object_of(body));
  RestoreRequest request;
  if (const json::value* checkpoint = find(object, "checkpoint")) {
    FR_TRY(request.checkpoint, whole(*checkpoint, "checkpoint", 0, INT64_MAX));
  }
  return request;
}

std::string to_json(const CheckpointInfo& info) { return json::serialize(object_of(info)); }

std::string to_json(const CheckpointPolicy& policy) {
  return json::serialize(
      json::value{{"vm", repair_utf8(policy.vm)},
                  {"auto", policy.is_auto},
                  {"budget_ratio", policy.budget_ratio},
                  {"keep", policy.keep},
                  {"made", json::array(policy.made.begin(), policy.made.end())},
                  {"copies_to", text_or_null(policy.copies_to)},
                  {"copied_to", json::array(policy.copied_to.begin(), policy.copied_to.end())},
                  {"foreseen_host", text_or_null(policy.foreseen_host)},
                  {"next_in_seconds", policy.next_in_seconds},
                  {"why", repair_utf8(policy.why)}});
}

std::string to_json(const std::vector<CheckpointInfo>& checkpoints, int64_t as_of) {
  json::array items;
  for (const CheckpointInfo& info : checkpoints) items.push_back(object_of(info));
  return json::serialize(
      json::value{{"items", std::move(items)}, {"as_of", os::format_utc(as_of)}});
}

}  // namespace forerun::api
