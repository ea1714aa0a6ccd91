#include "telemetry/profile_fields.h"
#include "telemetry/profile_json.h"

namespace forerun::telemetry {
namespace {

// Writes the schema of a record, indented for people: the file is part of the documentation.
class SchemaWriter {
 public:
  template <typename T>
  static std::string record(size_t indent) {
    SchemaWriter writer(indent + 4);
    T sample{};
    describe(writer, sample);
    const std::string pad(indent + 2, ' ');
    return fmt::format(
        "{{\n{0}\"type\": \"object\",\n{0}\"properties\": {{\n{1}\n{0}}},\n"
        "{0}\"required\": [{2}],\n{0}\"additionalProperties\": false\n{3}}}",
        pad, writer.members_, writer.required_, std::string(indent, ' '));
  }

  void whole(std::string_view name, uint64_t, uint64_t min, uint64_t max) {
    add(name, fmt::format(R"({{"type": "integer", "minimum": {}, "maximum": {}}})", min, max));
  }
  void integer(std::string_view name, int64_t, uint64_t size_max) {
    add(name, fmt::format(R"({{"type": "integer", "minimum": -{0}, "maximum": {0}}})", size_max));
  }
  void real(std::string_view name, double, double min, double max) {
    add(name, fmt::format(R"({{"type": "number", "minimum": {}, "maximum": {}}})", min, max));
  }
  void text(std::string_view name, const std::string&, size_t size_max) {
    add(name,
        fmt::format(R"({{"type": "string", "maxLength": {}, "pattern": "^[ -~]*$"}})", size_max));
  }
  template <typename T>
  void object(std::string_view name, T&) {
    add(name, record<T>(indent_));
  }
  template <typename T>
  void optional(std::string_view name, std::optional<T>&) {
    add(name, record<T>(indent_), false);
  }
  template <typename T>
  void list(std::string_view name, std::vector<T>&, size_t count_max) {
    add(name, list_of<T>(count_max));
  }
  template <typename T>
  void optional_list(std::string_view name, std::vector<T>&, size_t count_max) {
    add(name, list_of<T>(count_max), false);
  }

 private:
  explicit SchemaWriter(size_t indent) : indent_(indent) {}

  template <typename T>
  std::string list_of(size_t count_max) const {
    return fmt::format(R"({{"type": "array", "maxItems": {}, "items": {}}})", count_max,
                       record<T>(indent_));
  }

  void add(std::string_view name, std::string_view schema, bool is_required = true) {
    if (!members_.empty()) members_ += ",\n";
    members_ += fmt::format("{}\"{}\": {}", std::string(indent_, ' '), name, schema);
    if (!is_required) return;
    if (!required_.empty()) required_ += ", ";
    required_ += fmt::format("\"{}\"", name);
  }

  size_t indent_;
  std::string members_, required_;
};

}  // namespace

std::string profile_schema() {
  std::string body = SchemaWriter::record<Profile>(0);
  body.insert(2,
              "  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
              "  \"title\": \"What forerun-agent reports of its guest, once a period\",\n");
  return body + "\n";
}

}  // namespace forerun::telemetry
