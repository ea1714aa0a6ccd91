#include "vmm/qmp.h"

#include <boost/json.hpp>

namespace forerun::vmm {
namespace {

namespace json = boost::json;

Result<json::object> parse_object(std::string_view line) {
  json::error_code error;
  json::parse_options options;
  options.max_depth = 32;
  json::value value = json::parse(line, error, {}, options);
  if (error || !value.is_object()) {
    return fail(ErrorCode::kCorrupt, "QEMU sent a line that is no JSON object");
  }
  return std::move(value.as_object());
}

std::string text_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value && value->is_string() ? std::string(value->as_string()) : std::string();
}

const json::object* object_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  return value ? value->if_object() : nullptr;
}

}  // namespace

Result<std::unique_ptr<QmpClient>> QmpClient::connect(const std::string& path, Nanos timeout) {
  FR_TRY(os::Fd fd, os::connect_unix(path));
  auto stream = std::make_unique<os::SocketStream>(std::move(fd));
  FR_CHECK(stream->set_timeout(timeout));
  auto client = start(std::move(stream));
  if (!client) {
    return std::unexpected(
        std::move(client.error()).within(fmt::format("cannot talk QMP on {}", path)));
  }
  return client;
}

Result<std::unique_ptr<QmpClient>> QmpClient::start(std::unique_ptr<os::ByteStream> stream,
                                                    QmpLimits limits) {
  std::unique_ptr<QmpClient> client(new QmpClient(std::move(stream), limits));
  FR_TRY(const std::string greeting, client->read_line());
  FR_TRY(const json::object object, parse_object(greeting));
  if (!object.contains("QMP")) return fail(ErrorCode::kCorrupt, "the greeting is not QMP's");
  FR_CHECK(client->execute("qmp_capabilities"));
  return client;
}

Result<std::string> QmpClient::read_line() {
  while (true) {
    if (const size_t end = pending_.find('\n'); end != std::string::npos) {
      std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      return line;
    }
    if (pending_.size() >= limits_.line_bytes_max) {
      return fail(ErrorCode::kTooLarge,
                  fmt::format("QEMU sent a line of over {} bytes", limits_.line_bytes_max));
    }
    std::array<std::byte, 4096> chunk;
    const size_t room = std::min(chunk.size(), limits_.line_bytes_max - pending_.size());
    FR_TRY(const size_t count, stream_->read_some(MutableByteView(chunk).first(room)));
    if (count == 0) return fail(ErrorCode::kUnavailable, "QEMU closed its QMP socket");
    pending_ += as_text(ByteView(chunk).first(count));
  }
}

Result<std::string> QmpClient::execute(std::string_view command, std::string_view arguments) {
  std::string request = fmt::format(R"({{"execute":"{}")", command);
  if (!arguments.empty()) request += fmt::format(R"(,"arguments":{})", arguments);
  request += "}\n";
  FR_CHECK(stream_->write_bytes(as_bytes(request)));
  for (size_t lines = 0; lines <= limits_.events_skipped_max; ++lines) {
    FR_TRY(const std::string line, read_line());
    FR_TRY(const json::object answer, parse_object(line));
    if (const json::value* value = answer.if_contains("return")) return json::serialize(*value);
    if (const json::object* error = object_of(answer, "error")) {
      return fail(ErrorCode::kInvalid,
                  fmt::format("QEMU refuses {}: {}", command, text_of(*error, "desc")));
    }
    if (!answer.contains("event")) {
      return fail(ErrorCode::kCorrupt, "QEMU sent neither an answer nor an event");
    }
  }
  return fail(ErrorCode::kTooLarge, fmt::format("over {} events came before the answer to {}",
                                                limits_.events_skipped_max, command));
}

Result<std::string> QmpClient::run_state() {
  FR_TRY(const std::string answer, execute("query-status"));
  FR_TRY(const json::object object, parse_object(answer));
  std::string state = text_of(object, "status");
  if (state.empty()) return fail(ErrorCode::kCorrupt, "QEMU's query-status names no status");
  return state;
}

Result<std::vector<QmpBlockDevice>> QmpClient::block_devices() {
  FR_TRY(const std::string answer, execute("query-block"));
  json::error_code error;
  const json::value value = json::parse(answer, error);
  if (error || !value.is_array()) {
    return fail(ErrorCode::kCorrupt, "QEMU's query-block is no list");
  }
  std::vector<QmpBlockDevice> devices;
  for (const json::value& item : value.as_array()) {
    const json::object* device = item.if_object();
    if (!device) continue;
    QmpBlockDevice found;
    found.qdev = text_of(*device, "qdev");
    if (const json::object* inserted = object_of(*device, "inserted")) {
      found.node_name = text_of(*inserted, "node-name");
    }
    const std::string status = text_of(*device, "io-status");
    found.io_error = !status.empty() && status != "ok";
    devices.push_back(std::move(found));
  }
  return devices;
}

Status QmpClient::resume() {
  FR_CHECK(execute("cont"));
  return {};
}

Status QmpClient::power_down() {
  FR_CHECK(execute("system_powerdown"));
  return {};
}

Status QmpClient::quit() {
  const auto answer = execute("quit");
  if (answer || answer.error().code == ErrorCode::kUnavailable) return {};
  return std::unexpected(answer.error());
}

}  // namespace forerun::vmm
