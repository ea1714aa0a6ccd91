#include "image/manifest_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/basic_parser_impl.hpp>

#include "image/text_lines.h"

// With exceptions off toml++ reports syntax errors as values; Debian's compiled library has them
// on, so it is used header-only here.
#define TOML_EXCEPTIONS 0
#define TOML_HEADER_ONLY 1
#include <toml++/impl/preprocessor.h>
// Of values that are cut off it assumes what does not hold, and then finds the error.
#undef TOML_ASSERT_ASSUME
#define TOML_ASSERT_ASSUME(expr) static_cast<void>(0)
#include <toml++/toml.h>

namespace forerun::image {
namespace {

namespace json = boost::json;
constexpr size_t kJsonFieldsMax = 64;  // of one object: each is compared with all

TextNode node_of(const toml::node& value) {
  TextNode node;
  node.line = value.source().begin.line;
  if (const toml::table* table = value.as_table()) {
    for (const auto& [key, field] : *table) {
      node.items.push_back(node_of(field));
      node.items.back().name = key.str();
    }
  } else if (const toml::array* array = value.as_array()) {
    node.kind = TextNode::Kind::kList;
    for (const toml::node& item : *array) node.items.push_back(node_of(item));
  } else if (value.is_string()) {
    node.kind = TextNode::Kind::kText;
    node.text = *value.value<std::string>();
  } else if (value.is_integer()) {
    node.kind = TextNode::Kind::kNumber;
    node.number = *value.value<int64_t>();
  } else if (value.is_boolean()) {
    node.kind = TextNode::Kind::kBool;
    node.number = *value.value<bool>();
  } else {
    node.kind = TextNode::Kind::kOther;
  }
  return node;
}

// What Boost.JSON's parser calls. It says no positions: the text is given to it line by line.
struct JsonHandler {
  static constexpr size_t max_object_size = SIZE_MAX;
  static constexpr size_t max_array_size = SIZE_MAX;
  static constexpr size_t max_key_size = SIZE_MAX;
  static constexpr size_t max_string_size = SIZE_MAX;
  using Text = json::string_view;
  using Code = json::error_code;

  bool on_document_begin(Code&) { return true; }
  bool on_document_end(Code&) { return true; }
  bool on_object_begin(Code&) { return open(TextNode::Kind::kTable); }
  bool on_object_end(size_t, Code&) { return close(); }
  bool on_array_begin(Code&) { return open(TextNode::Kind::kList); }
  bool on_array_end(size_t, Code&) { return close(); }
  bool on_key_part(Text part, size_t, Code&) { return append(part); }
  bool on_key(Text part, size_t, Code& error) {
    append(part);
    std::vector<TextNode>& fields = open_.back().items;
    if (fields.size() >= kJsonFieldsMax)
      return refuse(fmt::format("over {} fields", kJsonFieldsMax), error);
    if (std::ranges::find(fields, text_, &TextNode::name) != fields.end())
      return refuse(fmt::format("'{}' is given twice", text_), error);
    fields.emplace_back().name = std::exchange(text_, {});
    return true;
  }
  bool on_string_part(Text part, size_t, Code&) { return append(part); }
  bool on_string(Text part, size_t, Code&) {
    append(part);
    return place({TextNode::Kind::kText, line, std::exchange(text_, {}), 0, {}, {}});
  }
  bool on_number_part(Text, Code&) { return true; }
  bool on_int64(int64_t number, Text, Code&) {
    return place({TextNode::Kind::kNumber, line, {}, number, {}, {}});
  }
  bool on_uint64(uint64_t number, Text, Code& error) {
    return number <= INT64_MAX ? on_int64(static_cast<int64_t>(number), {}, error) : other();
  }
  bool on_double(double, Text, Code&) { return other(); }
  bool on_bool(bool is, Code&) { return place({TextNode::Kind::kBool, line, {}, is, {}, {}}); }
  bool on_null(Code&) { return other(); }
  bool on_comment_part(Text, Code&) { return true; }
  bool on_comment(Text, Code&) { return true; }

  uint64_t line = 1;
  std::string refused;
  TextNode result;

 private:
  bool append(Text part) {
    text_.append(part.data(), part.size());
    return true;
  }
  bool other() { return place({TextNode::Kind::kOther, line, {}, 0, {}, {}}); }
  bool open(TextNode::Kind kind) {
    open_.push_back({kind, line, {}, 0, {}, {}});
    return true;
  }
  bool close() {
    TextNode node = std::move(open_.back());
    open_.pop_back();
    return place(std::move(node));
  }
  bool place(TextNode node) {
    if (open_.empty())
      result = std::move(node);
    else if (open_.back().kind == TextNode::Kind::kList)
      open_.back().items.push_back(std::move(node));
    else
      put_field(std::move(node));
    return true;
  }
  void put_field(TextNode node) {
    TextNode& field = open_.back().items.back();
    node.name = std::move(field.name);
    field = std::move(node);
  }
  bool refuse(std::string why, Code& error) {
    refused = std::move(why);
    error = make_error_code(json::error::syntax);
    return false;
  }

  std::vector<TextNode> open_;
  std::string text_;
};

Result<TextNode> read_json(std::string_view text, std::string_view file_name) {
  json::parse_options options;
  options.max_depth = kTextDepthMax;
  json::basic_parser<JsonHandler> parser(options);
  JsonHandler& handler = parser.handler();
  json::error_code error;
  for (std::string_view left = text; !left.empty() && !error;) {
    const size_t size = std::min(left.find('\n'), left.size() - 1) + 1;
    const size_t read = parser.write_some(size < left.size(), left.data(), size, error);
    if (!error && read < size) error = make_error_code(json::error::extra_data);
    left.remove_prefix(size);
    if (!error && !left.empty()) ++handler.line;
  }
  if (!error) return std::move(handler.result);
  const std::string why = handler.refused.empty() ? error.message() : handler.refused;
  return fail(ErrorCode::kInvalid, fmt::format("{}:{}: {}", file_name, handler.line, why));
}

Result<TextNode> read_toml(std::string_view text, std::string_view file_name) {
  const toml::parse_result parsed = toml::parse(text, file_name);
  if (parsed) return node_of(parsed.table());
  return fail(ErrorCode::kInvalid,
              fmt::format("{}:{}: {}", file_name, parsed.error().source().begin.line,
                          parsed.error().description()));
}

}  // namespace

Result<TextNode> read_manifest_text(std::string_view text, std::string_view file_name) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  const bool is_json = begin != std::string_view::npos && text[begin] == '{';
  return is_json ? read_json(text, file_name) : read_toml(text, file_name);
}

}  // namespace forerun::image
