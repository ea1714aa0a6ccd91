// Members of the daemon's answers. What is absent or of another type reads as empty, zero or false:
// a newer daemon must not break an older CLI.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"

namespace boost::json {
class object;
class array;
}  // namespace boost::json

namespace forerun::cli {

// ERRORS: kCorrupt if `text` is no JSON object.
Result<boost::json::object> parse_answer(std::string_view text);

std::string text_of(const boost::json::object& object, std::string_view key);  // made printable
double number_of(const boost::json::object& object, std::string_view key);
uint64_t count_of(const boost::json::object& object, std::string_view key);
bool flag_of(const boost::json::object& object, std::string_view key);
const boost::json::array& list_of(const boost::json::object& object, std::string_view key);
const boost::json::object& object_of(const boost::json::object& object, std::string_view key);

// Returns `text` as a JSON string, quotes included.
std::string json_string(std::string_view text);

}  // namespace forerun::cli
