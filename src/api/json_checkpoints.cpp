#include <boost/json.hpp>

#include "api/json_out.h"
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

}  // namespace

std::string to_json(const CheckpointInfo& info) { return json::serialize(object_of(info)); }

std::string to_json(const CheckpointPolicy& policy) {
  return json::serialize(json::value{{"vm", repair_utf8(policy.vm)},
                                     {"auto", policy.is_auto},
                                     {"budget_ratio", policy.budget_ratio},
                                     {"keep", policy.keep},
                                     {"made", json::array(policy.made.begin(), policy.made.end())},
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
