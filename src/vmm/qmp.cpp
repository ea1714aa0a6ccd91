#include "vmm/qmp.h"

#include <poll.h>

#include <boost/json.hpp>
#include <random>

namespace forerun::vmm {
namespace {

namespace json = boost::json;

constexpr Nanos kAskAgain = std::chrono::milliseconds(20);  // whether to wait on

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

// Returns whether there is something to read now, or an end.
bool is_readable(int fd) {
  pollfd wait{fd, POLLIN, 0};
  return fd >= 0 && ::poll(&wait, 1, 0) == 1;
}

int64_t integer_of(const json::object& object, std::string_view key) {
  const json::value* value = object.if_contains(key);
  const int64_t* number = value ? value->if_int64() : nullptr;
  return number ? *number : 0;
}

// REQUIRES: `line` is an event's.
QmpEvent event_of(const json::object& line) {
  QmpEvent event;
  event.name = text_of(line, "event");
  if (const json::object* data = object_of(line, "data")) event.status = text_of(*data, "status");
  if (const json::object* at = object_of(line, "timestamp"))
    event.at = std::chrono::seconds(integer_of(*at, "seconds")) +
               std::chrono::microseconds(integer_of(*at, "microseconds"));
  return event;
}

}  // namespace

QmpClient::QmpClient(std::unique_ptr<os::ByteStream> stream, QmpLimits limits)
    : stream_(std::move(stream)), limits_(limits) {
  std::random_device random;
  name_ = fmt::format("{:08x}", random());
}

Result<std::unique_ptr<QmpClient>> QmpClient::connect(const std::string& path, Nanos timeout,
                                                      MayWait may_wait) {
  FR_TRY(os::Fd fd, os::connect_unix(path));
  auto stream = std::make_unique<os::SocketStream>(std::move(fd));
  FR_CHECK(stream->set_timeout(may_wait ? std::min(timeout, kAskAgain) : timeout));
  std::unique_ptr<QmpClient> client(new QmpClient(std::move(stream), {}));
  client->may_wait_ = std::move(may_wait);
  client->timeout_ = timeout;
  if (Status greeted = client->greet({}); !greeted)
    return std::unexpected(
        std::move(greeted.error()).within(fmt::format("cannot talk QMP on {}", path)));
  return client;
}

Result<std::unique_ptr<QmpClient>> QmpClient::start(std::unique_ptr<os::ByteStream> stream,
                                                    QmpLimits limits) {
  std::unique_ptr<QmpClient> client(new QmpClient(std::move(stream), limits));
  FR_CHECK(client->greet({}));
  return client;
}

std::unique_ptr<QmpClient> QmpClient::go_on(std::unique_ptr<os::ByteStream> stream,
                                            QmpLimits limits) {
  return std::unique_ptr<QmpClient>(new QmpClient(std::move(stream), limits));
}

Status QmpClient::greet(std::string_view arguments) {
  json::object object;
  do {
    FR_TRY(const std::string line, read_line());
    FR_TRY(object, parse_object(line));
    // What an earlier client asked for may be answered to this one.
  } while (object.contains("id"));
  if (!object.contains("QMP")) return fail(ErrorCode::kCorrupt, "the greeting is not QMP's");
  FR_CHECK(execute("qmp_capabilities", arguments));
  return {};
}

Status QmpClient::allow_out_of_band() { return greet(R"({"enable":["oob"]})"); }

Result<size_t> QmpClient::read_some(MutableByteView out) {
  for (Nanos waited{}; may_wait_; waited += kAskAgain) {
    auto got = stream_->read_some(out);
    if (got || got.error().code != ErrorCode::kTimedOut || waited >= timeout_) return got;
    if (!may_wait_()) return fail(ErrorCode::kUnavailable, "QEMU did not answer in time");
  }
  return stream_->read_some(out);
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
    FR_TRY(const size_t count, read_some(MutableByteView(chunk).first(room)));
    if (count == 0) return fail(ErrorCode::kUnavailable, "QEMU closed its QMP socket");
    pending_ += as_text(ByteView(chunk).first(count));
  }
}

Result<std::string> QmpClient::execute(std::string_view command, std::string_view arguments) {
  return ask("execute", command, arguments);
}

Result<std::string> QmpClient::execute_out_of_band(std::string_view command,
                                                   std::string_view arguments) {
  return ask("exec-oob", command, arguments);
}

Result<std::string> QmpClient::ask(std::string_view verb, std::string_view command,
                                   std::string_view arguments) {
  const std::string id = fmt::format("{}-{}", name_, ++asked_);
  std::string request = fmt::format(R"({{"{}":"{}","id":"{}")", verb, command, id);
  if (!arguments.empty()) request += fmt::format(R"(,"arguments":{})", arguments);
  request += "}\n";
  FR_CHECK(stream_->write_bytes(as_bytes(request)));
  for (size_t lines = 0; lines <= limits_.events_skipped_max; ++lines) {
    FR_TRY(const std::string line, read_line());
    FR_TRY(const json::object answer, parse_object(line));
    if (answer.contains("id") && text_of(answer, "id") != id) continue;
    if (const json::value* value = answer.if_contains("return")) return json::serialize(*value);
    if (const json::object* error = object_of(answer, "error")) {
      return fail(ErrorCode::kInvalid,
                  fmt::format("QEMU refuses {}: {}", command, text_of(*error, "desc")));
    }
    if (!answer.contains("event")) {
      return fail(ErrorCode::kCorrupt, "QEMU sent neither an answer nor an event");
    }
    keep(event_of(answer));
  }
  return fail(ErrorCode::kTooLarge, fmt::format("over {} events came before the answer to {}",
                                                limits_.events_skipped_max, command));
}

void QmpClient::keep(QmpEvent event) {
  if (events_.size() >= limits_.events_kept_max) events_.pop_front();
  events_.push_back(std::move(event));
}

Status QmpClient::read_pending() {
  while (pending_.find('\n') != std::string::npos) {
    FR_TRY(const std::string line, read_line());
    FR_TRY(const json::object told, parse_object(line));
    if (told.contains("event")) keep(event_of(told));  // else an answer that nobody waits for
  }
  return {};
}

Result<bool> QmpClient::wait_for_event(Nanos timeout) {
  FR_CHECK(read_pending());
  if (!events_.empty()) return true;
  const Nanos before = may_wait_ ? std::min(timeout_, kAskAgain) : timeout_;
  FR_CHECK(stream_->set_timeout(timeout));
  std::array<std::byte, 4096> chunk;
  const auto got = stream_->read_some(chunk);
  FR_CHECK(stream_->set_timeout(before));
  if (!got && got.error().code == ErrorCode::kTimedOut) return false;
  if (!got) return std::unexpected(got.error());
  if (*got == 0) return fail(ErrorCode::kUnavailable, "QEMU closed its QMP socket");
  pending_ += as_text(ByteView(chunk).first(*got));
  FR_CHECK(read_pending());
  return !events_.empty();
}

Result<std::vector<QmpEvent>> QmpClient::take_events() {
  std::array<std::byte, 4096> chunk;
  while (pending_.size() < limits_.line_bytes_max && is_readable(stream_->fd())) {
    FR_TRY(const size_t count, stream_->read_some(chunk));
    if (count == 0) return fail(ErrorCode::kUnavailable, "QEMU closed its QMP socket");
    pending_ += as_text(ByteView(chunk).first(count));
    FR_CHECK(read_pending());
  }
  FR_CHECK(read_pending());
  std::vector<QmpEvent> taken(events_.begin(), events_.end());
  events_.clear();
  return taken;
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
