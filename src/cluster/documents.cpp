#include "cluster/documents.h"

#include <boost/json.hpp>

#include "core/id.h"

namespace forerun::cluster {
namespace {

namespace json = boost::json;

constexpr size_t kTextBytesMax = 256;
constexpr size_t kLabelsMax = 64;
constexpr size_t kDepthMax = 32;

std::unexpected<Error> corrupt(std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("the cluster's state has {}", what));
}

Result<json::object> parse_object(std::string_view text, std::string_view what) {
  json::parse_options options;
  options.max_depth = kDepthMax;
  json::error_code error;
  json::value value = json::parse({text.data(), text.size()}, error, {}, options);
  if (error || !value.is_object()) return corrupt(fmt::format("{} that is no JSON object", what));
  return std::move(value.as_object());
}

// A member that is missing is an empty text.
Result<std::string> text_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr) return std::string();
  if (!value->is_string() || value->as_string().size() > kTextBytesMax)
    return corrupt(fmt::format("a '{}' that is no text of at most {} bytes", name, kTextBytesMax));
  return std::string(value->as_string());
}

Result<uint64_t> number_of(const json::object& object, std::string_view name, uint64_t max) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr) return uint64_t{0};
  json::error_code error;
  const auto number = value->to_number<uint64_t>(error);
  if (error || number > max) return corrupt(fmt::format("a '{}' that is no such number", name));
  return number;
}

Result<std::map<std::string, std::string>> labels_of(const json::object& object) {
  std::map<std::string, std::string> labels;
  const json::value* value = object.if_contains("labels");
  if (value == nullptr) return labels;
  if (!value->is_object() || value->as_object().size() > kLabelsMax)
    return corrupt(fmt::format("labels that are no object of at most {} members", kLabelsMax));
  for (const auto& [name, text] : value->as_object()) {
    if (name.size() > kTextBytesMax || !text.is_string() || text.as_string().size() > kTextBytesMax)
      return corrupt("a label that is no text");
    labels[std::string(name)] = std::string(text.as_string());
  }
  return labels;
}

}  // namespace

std::string encode(const HostRecord& host) {
  json::object labels;
  for (const auto& [name, value] : host.labels) labels[name] = value;
  return json::serialize(json::object{{"name", host.name},
                                      {"id", host.id},
                                      {"address", host.address},
                                      {"zone", host.zone},
                                      {"version", host.version},
                                      {"cpus", host.cpus},
                                      {"memory_bytes", host.memory_bytes},
                                      {"labels", std::move(labels)}});
}

Result<HostRecord> parse_host(std::string_view text) {
  FR_TRY(const json::object object, parse_object(text, "a host"));
  HostRecord host;
  FR_TRY(host.name, text_of(object, "name"));
  if (!is_valid_name(host.name)) return corrupt("a host without a name");
  FR_TRY(host.id, text_of(object, "id"));
  FR_TRY(host.address, text_of(object, "address"));
  FR_TRY(host.zone, text_of(object, "zone"));
  FR_TRY(host.version, text_of(object, "version"));
  FR_TRY(const uint64_t cpus, number_of(object, "cpus", UINT32_MAX));
  host.cpus = static_cast<uint32_t>(cpus);
  FR_TRY(host.memory_bytes, number_of(object, "memory_bytes", UINT64_MAX));
  FR_TRY(host.labels, labels_of(object));
  return host;
}

std::string encode(const LeaderRecord& leader) {
  return json::serialize(json::object{{"host", leader.host}, {"id", leader.id}});
}

Result<LeaderRecord> parse_leader(std::string_view text) {
  FR_TRY(const json::object object, parse_object(text, "a leader"));
  LeaderRecord leader;
  FR_TRY(leader.host, text_of(object, "host"));
  FR_TRY(leader.id, text_of(object, "id"));
  return leader;
}

Result<std::string> encode(const Document& document) {
  json::parse_options options;
  options.max_depth = kDepthMax;
  json::error_code error;
  json::value value = json::parse({document.json.data(), document.json.size()}, error, {}, options);
  if (error)
    return fail(ErrorCode::kInvalid,
                fmt::format("a document is no JSON text: {}", error.message()));
  return json::serialize(json::object{
      {"version", document.version}, {"token", document.token}, {"document", std::move(value)}});
}

Result<Document> parse_document(std::string_view text) {
  FR_TRY(const json::object object, parse_object(text, "a document"));
  Document document;
  FR_TRY(const uint64_t version, number_of(object, "version", UINT32_MAX));
  document.version = static_cast<uint32_t>(version);
  FR_TRY(document.token, number_of(object, "token", UINT64_MAX));
  const json::value* value = object.if_contains("document");
  if (value == nullptr || version == 0) return corrupt("a document without version or content");
  document.json = json::serialize(*value);
  return document;
}

}  // namespace forerun::cluster
