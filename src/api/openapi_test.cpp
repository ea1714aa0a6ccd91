// Calls every path of docs/openapi.json and holds the answers against it: status, type, members,
// none undocumented.
#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "api/fake_plan_service.h"
#include "api/fake_service.h"
#include "api/router.h"
#include "core/bytes.h"
#include "os/file.h"

namespace forerun::api {
namespace {

namespace json = boost::json;

json::value load_document() {
  const auto bytes = os::read_file(FORERUN_DOCS_DIR "/openapi.json", 1 << 20);
  return bytes ? json::parse(as_text(*bytes)) : json::value();
}

std::string_view kind_of(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "boolean";
    case json::kind::string:
      return "string";
    case json::kind::array:
      return "array";
    case json::kind::object:
      return "object";
    case json::kind::double_:
      return "number";
    default:
      return "integer";
  }
}

bool allows(const json::value& type, std::string_view kind) {
  if (type.is_array()) {
    return std::any_of(type.as_array().begin(), type.as_array().end(),
                       [&](const json::value& one) { return allows(one, kind); });
  }
  return type.as_string() == kind || (type.as_string() == "number" && kind == "integer");
}

// Appends to `faults` where `value` differs from `schema`: the part of JSON Schema that the
// document uses.
void compare(const json::value& document, const json::value& schema, const json::value& value,
             const std::string& where, std::vector<std::string>& faults) {
  if (const json::value* reference = schema.as_object().if_contains("$ref")) {
    const std::string_view pointer = reference->as_string();
    return compare(document, document.at_pointer(pointer.substr(1)), value, where, faults);
  }
  const json::object& rules = schema.as_object();
  if (!allows(rules.at("type"), kind_of(value))) {
    faults.push_back(fmt::format("{} is {}", where, kind_of(value)));
    return;
  }
  if (const json::value* words = rules.if_contains("enum")) {
    const auto& list = words->as_array();
    if (std::find(list.begin(), list.end(), value) == list.end())
      faults.push_back(where + " is no listed word");
  }
  if (value.is_array()) {
    for (const json::value& item : value.as_array()) {
      compare(document, rules.at("items"), item, where + "[]", faults);
    }
  }
  if (!value.is_object()) return;
  const json::object& properties = rules.at("properties").as_object();
  for (const json::value& key : rules.at("required").as_array()) {
    if (!value.as_object().contains(key.as_string())) {
      faults.push_back(fmt::format("{}.{} is missing", where, std::string(key.as_string())));
    }
  }
  for (const auto& [key, member] : value.as_object()) {
    const std::string path = fmt::format("{}.{}", where, std::string(key));
    const json::value* rule = properties.if_contains(key);
    rule ? compare(document, *rule, member, path, faults)
         : faults.push_back(path + " is not documented");
  }
}

std::string filled(std::string path) {
  for (const auto& [parameter, value] : {std::pair<std::string, std::string>{"{name}", "web-1"},
                                         {"{id}", "o-1"},
                                         {"{metric}", "cpu_cores"},
                                         {"{number}", "3"}}) {
    if (const size_t at = path.find(parameter); at != std::string::npos) {
      path.replace(at, parameter.size(), value);
    }
  }
  return path;
}

std::string body_for(std::string_view operation_id) {
  if (operation_id == "importUsage") return R"({"url":"http://metrics:9090"})";
  if (operation_id == "importImage") return R"({"source_path":"/d","name":"d"})";
  if (operation_id == "importComponent") return R"({"source_path":"/d","name":"d","version":"1"})";
  if (operation_id == "markComponent") return R"({"shareable":true})";
  if (operation_id == "composeImage") return R"({"manifest":"version = 1","name":"d"})";
  if (operation_id == "exportRepository") return R"({"folder":"/srv/x","names":["debian"]})";
  if (operation_id == "signTag") return R"({"path":"images/debian.json","key":"","value":""})";
  if (operation_id == "importLaunches") return R"({"source_path":"/d"})";
  if (operation_id == "askProfile") return R"({"period_ms":500,"metrics":["cpu","disks"]})";
  if (operation_id == "pushMetrics") return R"({"values":{"requests_per_s":12}})";
  if (operation_id == "setVmShare") return R"({"weight":200})";
  if (operation_id == "collectRecording") return R"({"id":"r-1"})";
  if (operation_id == "setPlanPolicy") return R"({"mode":"auto"})";
  if (operation_id == "setCheckpointPolicy") return R"({"auto":true})";
  if (operation_id == "copyCheckpoint") return R"({"to":"b"})";
  if (operation_id == "restoreVm") return R"({"checkpoint":3})";
  if (operation_id == "exportHistory") return R"({"path":"/d"})";
  if (operation_id == "importHistory") return R"({"source_path":"/d"})";
  if (operation_id == "migrateVm" || operation_id == "forecastMigration") return R"({"to":"b"})";
  if (operation_id == "runVm") return R"({"name":"a","image":"b"})";
  return "";
}

std::string upper(std::string_view method) {
  std::string result;
  for (const char c : method) result += static_cast<char>(c - 'a' + 'A');
  return result;
}

// Returns how the answer to one documented operation differs from its documentation.
std::vector<std::string> check_operation(const json::value& document, const Router& router,
                                         const std::string& path, const std::string& method,
                                         const json::object& operation) {
  const std::string body = body_for(operation.at("operationId").as_string());
  const auto response = router.handle({method, filled(path), "", "application/json", body});
  const json::object& documented = operation.at("responses").as_object();
  const std::string status = fmt::to_string(response.status);
  if (!documented.contains(status)) return {fmt::format("status {} is not documented", status)};
  const json::value* content = documented.at(status).as_object().if_contains("content");
  if (!content)
    return response.body.empty() ? std::vector<std::string>{}
                                 : std::vector<std::string>{"has a body"};
  const std::string type = response.content_type.substr(0, response.content_type.find(';'));
  const json::value* media = content->as_object().if_contains(type);
  if (!media) return {fmt::format("type {} is not documented", type)};
  std::vector<std::string> faults;
  const json::value value =
      type == "text/plain" ? json::value(response.body) : json::parse(response.body);
  compare(document, media->as_object().at("schema"), value, "body", faults);
  return faults;
}

TEST(OpenApi, EveryDocumentedOperationAnswersAsDocumented) {
  const json::value document = load_document();
  ASSERT_TRUE(document.is_object());
  FakeService service;
  FakePlanService plans;
  const Router router(service, [] { return int64_t{1790000000}; }, &plans);
  size_t operations = 0;
  for (const auto& [path, item] : document.at("paths").as_object()) {
    for (const auto& [method, operation] : item.as_object()) {
      if (method == "parameters") continue;
      ++operations;
      for (const std::string& fault : check_operation(document, router, std::string(path),
                                                      upper(method), operation.as_object())) {
        ADD_FAILURE() << upper(method) << " " << path << ": " << fault;
      }
    }
  }
  EXPECT_EQ(operations, 63u);
}

TEST(OpenApi, ProblemsAreAsDocumented) {
  const json::value document = load_document();
  ASSERT_TRUE(document.is_object());
  FakeService service;
  service.error = Error{ErrorCode::kNoSpace, "the disk is full", ENOSPC};
  const Router router(service, [] { return int64_t{1790000000}; });
  const auto response = router.handle({"GET", "/api/v1/vms/a", "", "", ""});
  std::vector<std::string> faults;
  compare(document, document.at_pointer("/components/schemas/Problem"), json::parse(response.body),
          "body", faults);
  EXPECT_TRUE(faults.empty()) << faults.front();
}

TEST(OpenApi, TheComparisonFindsFaults) {
  const json::value schema = json::parse(
      R"({"type":"object","required":["a"],"properties":{"a":{"type":["integer","null"]},)"
      R"("b":{"type":"array","items":{"type":"string","enum":["x"]}}}})");
  const auto faults_of = [&](std::string_view text) {
    std::vector<std::string> faults;
    compare({}, schema, json::parse(text), "body", faults);
    return faults;
  };
  EXPECT_TRUE(faults_of(R"({"a":null,"b":["x"]})").empty());
  EXPECT_EQ(faults_of(R"({"a":"1"})"), std::vector<std::string>{"body.a is string"});
  EXPECT_EQ(faults_of(R"({"b":["y"]})"),
            (std::vector<std::string>{"body.a is missing", "body.b[] is no listed word"}));
  EXPECT_EQ(faults_of(R"({"a":1,"c":2})"), std::vector<std::string>{"body.c is not documented"});
}

}  // namespace
}  // namespace forerun::api
