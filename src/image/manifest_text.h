// A manifest's text, TOML or JSON, as one kind of tree that knows the line of every value.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace forerun::image {

struct TextNode {
  enum class Kind { kText, kNumber, kBool, kList, kTable, kOther };
  Kind kind = Kind::kTable;
  uint64_t line = 1;  // where it begins
  std::string text;
  int64_t number = 0;           // of a kBool: 0 or 1
  std::vector<TextNode> items;  // of a kList or kTable
  std::string name;             // of an item of a kTable, where no name stands twice
};

inline constexpr size_t kTextDepthMax = 32;  // of JSON, lists and tables in one another

// Returns the table that is `text`: JSON if it begins with '{', TOML otherwise. Numbers with a
// fraction, dates and null come as kOther. ERRORS: kInvalid, with `file_name` and the line: not of
// the format, a name given twice in a table.
Result<TextNode> read_manifest_text(std::string_view text, std::string_view file_name);

}  // namespace forerun::image
