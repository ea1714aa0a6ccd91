#include "daemon/migration_messages.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <variant>

namespace forerun::daemon {
namespace {

namespace json = boost::json;

constexpr std::array<std::string_view, 31> kNames{
    "ping",     "pong",     "prepare", "prepared",   "frozen", "ready",   "commit",  "running",
    "progress", "complete", "abort",   "failed",     "resume", "resumed", "ask",     "outcome",
    "relay",    "relayed",  "fleet",   "fleet_told", "order",  "ordered", "measure", "measured",
    "returned", "keep",     "lacks",   "kept",       "drop",   "dropped", "foresee"};

// A member that is left out has its default.
struct Member {
  std::string_view name;
  std::variant<std::string PeerMessage::*, uint64_t PeerMessage::*, bool PeerMessage::*> field;
};
const std::array<Member, 28> kMembers{{{"id", &PeerMessage::id},
                                       {"vm", &PeerMessage::vm},
                                       {"code", &PeerMessage::code},
                                       {"text", &PeerMessage::text},
                                       {"record", &PeerMessage::record},
                                       {"qemu_version", &PeerMessage::qemu_version},
                                       {"machine", &PeerMessage::machine},
                                       {"kernel_digest", &PeerMessage::kernel_digest},
                                       {"initrd_digest", &PeerMessage::initrd_digest},
                                       {"ownership", &PeerMessage::ownership},
                                       {"disk_bytes", &PeerMessage::disk_bytes},
                                       {"blocktime_ms", &PeerMessage::blocktime_ms},
                                       {"port", &PeerMessage::port},
                                       {"rate_bytes_per_s", &PeerMessage::rate_bytes_per_s},
                                       {"history_bytes", &PeerMessage::history_bytes},
                                       {"loaded_us", &PeerMessage::loaded_us},
                                       {"disk_known_us", &PeerMessage::disk_known_us},
                                       {"took_us", &PeerMessage::took_us},
                                       {"is_postcopy", &PeerMessage::is_postcopy},
                                       {"is_decided", &PeerMessage::is_decided},
                                       {"is_complete", &PeerMessage::is_complete},
                                       {"has_memory", &PeerMessage::has_memory},
                                       {"without_forwards", &PeerMessage::without_forwards},
                                       {"is_plain", &PeerMessage::is_plain},
                                       {"takes_known", &PeerMessage::takes_known},
                                       {"known_pages", &PeerMessage::known_pages},
                                       {"checkpoint", &PeerMessage::checkpoint},
                                       {"checkpoint_bytes", &PeerMessage::checkpoint_bytes}}};

void read(const json::value& value, std::string& out, bool& is_good) {
  is_good = value.is_string();
  if (is_good) out = std::string(value.as_string());
}
void read(const json::value& value, uint64_t& out, bool& is_good) {
  json::error_code error;
  out = value.to_number<uint64_t>(error);
  is_good = !error;
}
void read(const json::value& value, bool& out, bool& is_good) {
  is_good = value.is_bool();
  if (is_good) out = value.as_bool();
}

std::unexpected<Error> corrupt(std::string_view what) {
  return fail(ErrorCode::kCorrupt, fmt::format("the other host sent a message {}", what));
}

ErrorCode code_of(std::string_view name) {
  for (const ErrorCode code :
       {ErrorCode::kInvalid, ErrorCode::kNotFound, ErrorCode::kExists, ErrorCode::kCorrupt,
        ErrorCode::kUnavailable, ErrorCode::kTimedOut, ErrorCode::kTooLarge, ErrorCode::kNoSpace,
        ErrorCode::kDenied, ErrorCode::kIo, ErrorCode::kUnsupported})
    if (name == error_code_name(code)) return code;
  return ErrorCode::kInternal;
}

}  // namespace

std::string_view peer_message_name(PeerMessageKind kind) {
  return kNames[static_cast<size_t>(kind)];
}

std::string encode(const PeerMessage& message) {
  const PeerMessage defaults;
  json::object object{{"kind", peer_message_name(message.kind)}, {"version", message.version}};
  for (const Member& member : kMembers)
    std::visit(
        [&](auto field) {
          if (message.*field != defaults.*field) object[member.name] = message.*field;
        },
        member.field);
  return json::serialize(object);
}

Result<PeerMessage> parse_peer_message(std::string_view text) {
  json::error_code error;
  json::parse_options options;
  options.max_depth = 4;
  const json::value value = json::parse(text, error, {}, options);
  if (error || !value.is_object()) return corrupt("that is no JSON object");
  const json::object& object = value.as_object();
  PeerMessage message;
  const json::value* version = object.if_contains("version");
  if (version == nullptr || !version->is_int64()) return corrupt("without a version");
  if (version->as_int64() != kPeerVersion)
    return fail(
        ErrorCode::kUnsupported,
        fmt::format("the other host speaks version {} of the migration protocol, this one {}",
                    version->as_int64(), kPeerVersion));
  const json::value* kind = object.if_contains("kind");
  const auto* name =
      kind == nullptr || !kind->is_string()
          ? kNames.end()
          : std::find(kNames.begin(), kNames.end(), std::string_view(kind->as_string()));
  if (name == kNames.end()) return corrupt("of an unknown kind");
  message.kind = PeerMessageKind(name - kNames.begin());
  for (const Member& member : kMembers) {
    const json::value* found = object.if_contains(member.name);
    if (found == nullptr) continue;
    bool is_good = false;
    std::visit([&](auto field) { read(*found, message.*field, is_good); }, member.field);
    if (!is_good) return corrupt(fmt::format("whose {} is of a wrong type", member.name));
  }
  return message;
}

Status send(net::PeerConnection& to, const PeerMessage& message) {
  return to.send_message(encode(message));
}

Result<PeerMessage> receive(net::PeerConnection& from, std::initializer_list<PeerMessageKind> kinds,
                            Nanos timeout) {
  FR_TRY(const std::string text, from.receive_message(timeout));
  return expect(text, kinds);
}

Result<PeerMessage> expect(std::string_view text, std::initializer_list<PeerMessageKind> kinds) {
  FR_TRY(PeerMessage message, parse_peer_message(text));
  if (std::find(kinds.begin(), kinds.end(), message.kind) != kinds.end()) return message;
  if (message.kind == PeerMessageKind::kFailed) return fail(code_of(message.code), message.text);
  return corrupt(fmt::format("out of turn: {}", peer_message_name(message.kind)));
}

PeerMessage failure_message(const Error& error) {
  PeerMessage message;
  message.kind = PeerMessageKind::kFailed;
  message.code = error_code_name(error.code);
  message.text = error.message;
  return message;
}

}  // namespace forerun::daemon
