#include "cluster/etcd_messages.h"

#include <openssl/evp.h>

#include <boost/json.hpp>
#include <charconv>
#include <climits>

#include "cluster/keys.h"

namespace forerun::cluster::etcd {
namespace {

namespace json = boost::json;

constexpr size_t kDepthMax = 16;
constexpr size_t kErrorBytesMax = 300;

std::unexpected<Error> corrupt(std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("etcd's answer {}", what));
}

Result<json::object> parse_object(std::string_view text) {
  json::parse_options options;
  options.max_depth = kDepthMax;
  json::error_code error;
  json::value value = json::parse({text.data(), text.size()}, error, {}, options);
  if (error || !value.is_object()) return corrupt("is no JSON object");
  return std::move(value.as_object());
}

// 64-bit numbers come as strings, smaller ones as numbers, zeroes not at all.
Result<int64_t> number_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr) return int64_t{0};
  int64_t number = 0;
  if (value->is_string()) {
    const std::string_view digits = value->as_string();
    const char* const end = digits.data() + digits.size();
    const auto parsed = std::from_chars(digits.data(), end, number);
    if (parsed.ec == std::errc() && parsed.ptr == end) return number;
  } else {
    json::error_code error;
    number = value->to_number<int64_t>(error);
    if (!error) return number;
  }
  return corrupt(fmt::format("has a '{}' that is no number", name));
}

bool flag_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_bool() && value->as_bool();
}

Result<std::string> bytes_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr) return std::string();
  if (!value->is_string()) return corrupt(fmt::format("has a '{}' that is no text", name));
  return from_base64(value->as_string());
}

std::string plain_text_of(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr || !value->is_string()) return {};
  return std::string(value->as_string()).substr(0, kErrorBytesMax);
}

const json::object* object_in(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value == nullptr ? nullptr : value->if_object();
}

Result<Revision> revision_of(const json::object& answer) {
  const json::object* header = object_in(answer, "header");
  if (header == nullptr) return corrupt("has no header");
  FR_TRY(const int64_t revision, number_of(*header, "revision"));
  if (revision <= 0) return corrupt("has no revision");
  return revision;
}

Result<KeyValue> entry_of(const json::value& value) {
  if (!value.is_object()) return corrupt("has an entry that is none");
  const json::object& object = value.as_object();
  KeyValue entry;
  FR_TRY(entry.key, bytes_of(object, "key"));
  FR_TRY(entry.value, bytes_of(object, "value"));
  FR_TRY(entry.created, number_of(object, "create_revision"));
  FR_TRY(entry.modified, number_of(object, "mod_revision"));
  FR_TRY(entry.lease, number_of(object, "lease"));
  if (entry.key.empty() || entry.modified <= 0) return corrupt("has an entry without a key");
  return entry;
}

Result<Event> event_of(const json::value& value) {
  if (!value.is_object()) return corrupt("has an event that is none");
  const json::value* entry = value.as_object().if_contains("kv");
  if (entry == nullptr) return corrupt("has an event of no key");
  Event event;
  event.is_removal = plain_text_of(value.as_object(), "type") == "DELETE";
  FR_TRY(event.entry, entry_of(*entry));
  return event;
}

json::object compare_of(const Condition& condition) {
  const bool is_created = condition.on == Condition::On::kCreated || condition.revision == 0;
  return {{"key", to_base64(condition.key)},
          {"result", "EQUAL"},
          {"target", is_created ? "CREATE" : "MOD"},
          {is_created ? "create_revision" : "mod_revision", std::to_string(condition.revision)}};
}

json::object request_of(const Change& change) {
  if (!change.value) return {{"request_delete_range", {{"key", to_base64(change.key)}}}};
  json::object put{{"key", to_base64(change.key)}, {"value", to_base64(*change.value)}};
  if (change.lease != 0) put["lease"] = std::to_string(change.lease);
  return {{"request_put", std::move(put)}};
}

ErrorCode code_of(int64_t grpc_code) {
  switch (grpc_code) {
    case 3:
      return ErrorCode::kInvalid;  // InvalidArgument
    case 4:
      return ErrorCode::kTimedOut;  // DeadlineExceeded
    case 5:
      return ErrorCode::kNotFound;  // NotFound
    case 7:                         // PermissionDenied
    case 16:
      return ErrorCode::kDenied;  // Unauthenticated
    case 8:
      return ErrorCode::kNoSpace;  // ResourceExhausted: its quota
    case 11:
      return ErrorCode::kInvalid;  // OutOfRange: a revision
    case 1:                        // Cancelled
    case 2:                        // Unknown: "raft: stopped", "context canceled"
    case 9:                        // FailedPrecondition
    case 14:
      return ErrorCode::kUnavailable;  // Unavailable: no leader, …
    default:
      return ErrorCode::kIo;
  }
}

}  // namespace

std::string to_base64(std::string_view bytes) {
  // With the zero that EVP_EncodeBlock ends its text by.
  std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                                   reinterpret_cast<const unsigned char*>(bytes.data()),
                                   static_cast<int>(bytes.size()));
  text.resize(static_cast<size_t>(size));
  return text;
}

Result<std::string> from_base64(std::string_view text) {
  if (text.empty()) return std::string();
  if (text.size() % 4 != 0 || text.size() > INT_MAX) return corrupt("has text that is no base64");
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  // Padding inside, which EVP_DecodeBlock would take for zeroes.
  if (text.find('=') < text.size() - padding) return corrupt("has text that is no base64");
  std::string bytes(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  // Spaces at the ends are dropped by it.
  if (size < 0 || static_cast<size_t>(size) != bytes.size())
    return corrupt("has text that is no base64");
  bytes.resize(bytes.size() - padding);
  return bytes;
}

std::string encode(const RangeRequest& request) {
  json::object object{{"key", to_base64(request.key)}};
  if (!request.range_end.empty()) object["range_end"] = to_base64(request.range_end);
  if (request.limit != 0) object["limit"] = std::to_string(request.limit);
  if (request.revision != 0) object["revision"] = std::to_string(request.revision);
  return json::serialize(object);
}

Result<RangeAnswer> parse_range(std::string_view text) {
  FR_TRY(const json::object object, parse_object(text));
  RangeAnswer answer;
  FR_TRY(answer.revision, revision_of(object));
  answer.has_more = flag_of(object, "more");
  const json::value* entries = object.if_contains("kvs");
  if (entries == nullptr) return answer;
  if (!entries->is_array()) return corrupt("has entries that are no array");
  for (const json::value& value : entries->as_array()) {
    FR_TRY(KeyValue entry, entry_of(value));
    answer.entries.push_back(std::move(entry));
  }
  return answer;
}

std::string encode(const Transaction& transaction) {
  json::array compare, success;
  for (const Condition& condition : transaction.conditions)
    compare.push_back(compare_of(condition));
  for (const Change& change : transaction.changes) success.push_back(request_of(change));
  return json::serialize(
      json::object{{"compare", std::move(compare)}, {"success", std::move(success)}});
}

Result<Committed> parse_committed(std::string_view text) {
  FR_TRY(const json::object object, parse_object(text));
  Committed done;
  FR_TRY(done.revision, revision_of(object));
  done.is_applied = flag_of(object, "succeeded");
  return done;
}

std::string encode_grant(Nanos ttl) {
  return fmt::format(R"({{"TTL":"{}"}})", std::chrono::ceil<std::chrono::seconds>(ttl).count());
}

Result<Lease> parse_grant(std::string_view text) {
  FR_TRY(const json::object object, parse_object(text));
  FR_TRY(const int64_t id, number_of(object, "ID"));
  FR_TRY(const int64_t seconds, number_of(object, "TTL"));
  if (id == 0 || seconds <= 0 || seconds > 1'000'000) return corrupt("has no lease");
  return Lease{id, std::chrono::seconds(seconds)};
}

std::string encode_lease(LeaseId lease) { return fmt::format(R"({{"ID":"{}"}})", lease); }

Result<Nanos> parse_keep_alive(std::string_view text) {
  FR_TRY(const json::object object, parse_object(text));
  const json::object* result = object_in(object, "result");
  if (result == nullptr) return corrupt("has no result");
  FR_TRY(const int64_t seconds, number_of(*result, "TTL"));
  if (seconds > 1'000'000) return corrupt("has a lease without end");
  return std::chrono::seconds(std::max<int64_t>(seconds, 0));
}

std::string encode_compaction(Revision revision) {
  return fmt::format(R"({{"revision":"{}"}})", revision);
}

std::string encode_watch(const std::string& prefix, Revision after) {
  return json::serialize(json::object{{"create_request",
                                       {{"key", to_base64(prefix)},
                                        {"range_end", to_base64(end_of_prefix(prefix))},
                                        {"start_revision", std::to_string(after + 1)},
                                        {"fragment", true}}}});
}

Result<WatchMessage> parse_watch(std::string_view line) {
  FR_TRY(const json::object object, parse_object(line));
  WatchMessage message;
  if (const json::object* error = object_in(object, "error")) {
    message.cancelled = plain_text_of(*error, "message");
    if (message.cancelled.empty()) message.cancelled = "no reason given";
    return message;
  }
  const json::object* result = object_in(object, "result");
  if (result == nullptr) return corrupt("has no result");
  message.is_created = flag_of(*result, "created");
  message.is_fragment = flag_of(*result, "fragment");
  if (flag_of(*result, "canceled")) {
    FR_TRY(const Revision compacted, number_of(*result, "compact_revision"));
    if (compacted > 0) message.compacted_at = compacted;
    message.cancelled = plain_text_of(*result, "cancel_reason");
    if (message.cancelled.empty()) message.cancelled = "no reason given";
    return message;
  }
  FR_TRY(message.revision, revision_of(*result));
  const json::value* events = result->if_contains("events");
  if (events == nullptr) return message;
  if (!events->is_array()) return corrupt("has events that are no array");
  for (const json::value& value : events->as_array()) {
    FR_TRY(Event event, event_of(value));
    message.events.push_back(std::move(event));
  }
  return message;
}

Error parse_error(int status, std::string_view text) {
  const auto object = parse_object(text);
  std::string message;
  int64_t code = -1;
  if (object) {
    // Streams wrap what other answers say plainly.
    const json::object* inner = object_in(*object, "error");
    const json::object& said = inner != nullptr ? *inner : *object;
    message = plain_text_of(said, "message");
    if (message.empty()) message = plain_text_of(said, "error");
    code = number_of(said, inner != nullptr ? "grpc_code" : "code").value_or(-1);
  }
  if (message.empty()) message = "no reason given";
  const ErrorCode kind = code >= 0       ? code_of(code)
                         : status >= 500 ? ErrorCode::kUnavailable
                                         : ErrorCode::kIo;
  return {kind, fmt::format("etcd answered {}: {}", status, message), 0};
}

}  // namespace forerun::cluster::etcd
