#include "cli/fields.h"

#include <boost/json.hpp>

#include "cli/text.h"

namespace forerun::cli {

namespace json = boost::json;

Result<json::object> parse_answer(std::string_view text) {
  json::error_code error;
  json::value value = json::parse(text, error);
  if (error || !value.is_object())
    return fail(ErrorCode::kCorrupt, "the daemon's answer is no JSON object");
  return std::move(value.as_object());
}

std::string text_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value && value->is_string() ? printable(std::string_view(value->as_string()))
                                     : std::string();
}

double number_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  json::error_code error;
  const double number = value && value->is_number() ? value->to_number<double>(error) : 0;
  return error ? 0 : number;
}

uint64_t count_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  json::error_code error;
  const uint64_t count = value && value->is_number() ? value->to_number<uint64_t>(error) : 0;
  return error ? 0 : count;
}

bool flag_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value && value->is_bool() && value->as_bool();
}

const json::array& list_of(const json::object& object, std::string_view key) {
  static const json::array empty;
  const json::value* value = object.if_contains(key);
  return value && value->is_array() ? value->as_array() : empty;
}

const json::object& object_of(const json::object& object, std::string_view key) {
  static const json::object empty;
  const json::value* value = object.if_contains(key);
  return value && value->is_object() ? value->as_object() : empty;
}

std::string json_string(std::string_view text) { return json::serialize(json::string(text)); }

}  // namespace forerun::cli
