#include "net/switch_control.h"

#include <boost/json.hpp>

#include "os/socket.h"

namespace forerun::net {
namespace {

namespace json = boost::json;

constexpr Nanos kAnswerTimeout = std::chrono::seconds(5);

Result<json::object> parse(std::string_view text, ErrorCode code) {
  json::error_code error;
  json::value value = json::parse(text, error);
  if (error || !value.is_object()) return fail(code, "the message is no JSON object");
  return std::move(value.as_object());
}

// Returns the whole number of that key, if there is one. ERRORS: `code`: it is another thing.
Result<std::optional<uint64_t>> number(const json::object& object, std::string_view key,
                                       ErrorCode code) {
  const json::value* value = object.if_contains(key);
  if (value == nullptr) return std::optional<uint64_t>();
  json::error_code error;
  const auto found = value->is_number() ? value->to_number<uint64_t>(error) : uint64_t{0};
  if (!value->is_number() || error) return fail(code, fmt::format("{} is no whole number", key));
  return std::optional(found);
}

Result<uint64_t> needed(const json::object& object, std::string_view key, ErrorCode code) {
  FR_TRY(const auto found, number(object, key, code));
  if (!found) return fail(code, fmt::format("{} is missing", key));
  return *found;
}

Result<Nanos> delay_of(uint64_t delay_ns) {
  if (delay_ns > static_cast<uint64_t>(lab::kLinkDelayMax.count()))
    return fail(ErrorCode::kInvalid, "the delay of a link is at most 60 s");
  return Nanos(static_cast<int64_t>(delay_ns));
}

Result<LinkChange> change_of(const json::object& object) {
  constexpr auto kCode = ErrorCode::kInvalid;
  LinkChange change;
  FR_TRY(change.from, needed(object, "from", kCode));
  FR_TRY(change.to, needed(object, "to", kCode));
  FR_TRY(const auto delay, number(object, "delay_ns", kCode));
  if (delay) {
    FR_TRY(change.delay, delay_of(*delay));
  }
  FR_TRY(change.rate_bytes_per_s, number(object, "rate_bytes_per_s", kCode));
  FR_TRY(change.queue_bytes_max, number(object, "queue_bytes_max", kCode));
  if (const json::value* is_up = object.if_contains("is_up")) {
    if (!is_up->is_bool()) return fail(kCode, "is_up is neither true nor false");
    change.is_up = is_up->as_bool();
  }
  return change;
}

Result<LinkState> link_of(const json::object& object) {
  constexpr auto kCode = ErrorCode::kCorrupt;
  LinkState link;
  FR_TRY(const LinkChange settings, change_of(object));
  link.from = settings.from;
  link.to = settings.to;
  link.settings = {settings.delay.value_or(Nanos{}), settings.rate_bytes_per_s.value_or(0),
                   settings.queue_bytes_max.value_or(0), settings.is_up.value_or(true)};
  FR_TRY(link.counters.frames, needed(object, "frames", kCode));
  FR_TRY(link.counters.bytes, needed(object, "bytes", kCode));
  FR_TRY(link.counters.dropped, needed(object, "dropped", kCode));
  FR_TRY(link.counters.cut, needed(object, "cut", kCode));
  return link;
}

}  // namespace

Status check_link(const lab::LinkSettings& settings) {
  FR_CHECK(delay_of(static_cast<uint64_t>(settings.delay.count())));
  if (settings.rate_bytes_per_s != 0 && settings.rate_bytes_per_s < lab::kLinkRateMin)
    return fail(ErrorCode::kInvalid, "the rate of a link is at least 1 kbit/s, or none");
  if (settings.queue_bytes_max > lab::kLinkQueueMax)
    return fail(ErrorCode::kInvalid, "the queue of a link has at most 256 MiB");
  return {};
}

std::string encode_changes(const std::vector<LinkChange>& changes) {
  json::array list;
  for (const LinkChange& change : changes) {
    json::object object{{"from", change.from}, {"to", change.to}};
    if (change.delay) object["delay_ns"] = change.delay->count();
    if (change.rate_bytes_per_s) object["rate_bytes_per_s"] = *change.rate_bytes_per_s;
    if (change.queue_bytes_max) object["queue_bytes_max"] = *change.queue_bytes_max;
    if (change.is_up) object["is_up"] = *change.is_up;
    list.push_back(std::move(object));
  }
  return json::serialize(json::object{{"changes", std::move(list)}});
}

Result<std::vector<LinkChange>> decode_changes(std::string_view text) {
  FR_TRY(const json::object object, parse(text, ErrorCode::kInvalid));
  const json::value* list = object.if_contains("changes");
  if (list == nullptr || !list->is_array()) return fail(ErrorCode::kInvalid, "changes is no list");
  std::vector<LinkChange> changes;
  for (const json::value& item : list->as_array()) {
    if (!item.is_object()) return fail(ErrorCode::kInvalid, "a change is no object");
    FR_TRY(changes.emplace_back(), change_of(item.as_object()));
  }
  return changes;
}

std::string encode_state(const SwitchState& state) {
  json::array links;
  for (const LinkState& link : state.links)
    links.push_back({{"from", link.from},
                     {"to", link.to},
                     {"is_up", link.settings.is_up},
                     {"delay_ns", link.settings.delay.count()},
                     {"rate_bytes_per_s", link.settings.rate_bytes_per_s},
                     {"queue_bytes_max", link.settings.queue_bytes_max},
                     {"frames", link.counters.frames},
                     {"bytes", link.counters.bytes},
                     {"dropped", link.counters.dropped},
                     {"cut", link.counters.cut}});
  return json::serialize(
      json::object{{"links", std::move(links)}, {"lost", json::value_from(state.lost)}});
}

std::string encode_refusal(const Error& error) {
  return json::serialize(json::object{{"error", error.message}});
}

Result<SwitchState> decode_state(std::string_view text) {
  FR_TRY(const json::object object, parse(text, ErrorCode::kCorrupt));
  if (const json::value* error = object.if_contains("error"); error && error->is_string())
    return fail(ErrorCode::kInvalid, std::string(error->as_string()));
  const json::value* links = object.if_contains("links");
  const json::value* lost = object.if_contains("lost");
  if (!links || !links->is_array() || !lost || !lost->is_array())
    return fail(ErrorCode::kCorrupt, "the switch's answer is not one");
  SwitchState state;
  for (const json::value& item : links->as_array()) {
    if (!item.is_object()) return fail(ErrorCode::kCorrupt, "the switch's answer is not one");
    FR_TRY(state.links.emplace_back(), link_of(item.as_object()));
  }
  for (const json::value& item : lost->as_array()) {
    json::error_code error;
    state.lost.push_back(item.is_number() ? item.to_number<uint64_t>(error) : 0);
    if (error) return fail(ErrorCode::kCorrupt, "the switch's answer is not one");
  }
  return state;
}

Result<SwitchState> ask_switch(const std::string& socket, const std::vector<LinkChange>& changes) {
  auto connection = os::connect_unix(socket, os::UnixKind::kPackets);
  if (!connection)
    return fail(ErrorCode::kUnavailable,
                fmt::format("no switch answers on {}: {}", socket, connection.error().message));
  os::SocketStream stream(std::move(*connection));
  FR_CHECK(stream.set_timeout(kAnswerTimeout));
  FR_CHECK(stream.write_bytes(as_bytes(encode_changes(changes))));
  Buffer answer(kSwitchAnswerBytesMax);
  FR_TRY(const size_t size, stream.read_some(answer));
  if (size == 0) return fail(ErrorCode::kUnavailable, "the switch hung up without an answer");
  return decode_state(as_text(ByteView(answer).first(size)));
}

}  // namespace forerun::net
