#include "cli/context.h"

#include <unistd.h>

#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>

#include "core/id.h"
#include "net/http_client.h"
#include "os/file.h"

namespace forerun::cli {
namespace {

namespace json = boost::json;

ErrorCode code_of(std::string_view name) {
  for (const ErrorCode code :
       {ErrorCode::kInvalid, ErrorCode::kNotFound, ErrorCode::kExists, ErrorCode::kCorrupt,
        ErrorCode::kTimedOut, ErrorCode::kTooLarge, ErrorCode::kNoSpace, ErrorCode::kDenied,
        ErrorCode::kIo, ErrorCode::kUnsupported}) {
    if (error_code_name(code) == name) return code;
  }
  return name == "unavailable" ? ErrorCode::kIo : ErrorCode::kInternal;
}

Error error_of(const net::HttpReply& reply) {
  json::error_code error;
  const json::value value = json::parse(reply.body, error);
  const json::object* problem = error ? nullptr : value.if_object();
  Error result{ErrorCode::kInternal, fmt::format("the daemon answered HTTP {}", reply.status), 0};
  if (!problem) return result;
  if (const json::value* code = problem->if_contains("code"); code && code->is_string()) {
    result.code = code_of(code->as_string());
  }
  if (const json::value* detail = problem->if_contains("detail"); detail && detail->is_string()) {
    result.message = std::string(detail->as_string());
  } else if (const json::value* title = problem->if_contains("title");
             title && title->is_string()) {
    result.message = std::string(title->as_string());
  }
  return result;
}

const char* variable(const char* name) {
  const char* value = std::getenv(name);
  return value && *value ? value : nullptr;
}

}  // namespace

int exit_code_of(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalid:
      return kExitUsage;
    case ErrorCode::kUnavailable:
      return kExitUnreachable;
    case ErrorCode::kNotFound:
      return kExitNotFound;
    case ErrorCode::kExists:
      return kExitExists;
    case ErrorCode::kTimedOut:
      return kExitTimedOut;
    default:
      return kExitFailed;
  }
}

Result<std::string> Context::ask(std::string_view method, const std::string& path,
                                 std::string_view body, Nanos timeout) const {
  net::HttpClient client({.unix_socket = socket, .timeout = timeout});
  auto reply = client.request(method, path, body);
  if (!reply) {
    Error error = std::move(reply.error());
    if (error.code == ErrorCode::kUnavailable)
      error.message += " (is forerund running? see forerun doctor)";
    return std::unexpected(std::move(error));
  }
  if (reply->status / 100 != 2) return std::unexpected(error_of(*reply));
  return std::move(reply->body);
}

Result<std::string> Context::get(const std::string& path) const {
  return ask("GET", path, {}, std::chrono::minutes(2));
}
Result<std::string> Context::post(const std::string& path, const std::string& body,
                                  Nanos timeout) const {
  return ask("POST", path, body, timeout);
}
Result<std::string> Context::patch(const std::string& path, const std::string& body) const {
  return ask("PATCH", path, body, std::chrono::minutes(2));
}

Result<std::string> Context::remove(const std::string& path) const {
  return ask("DELETE", path, {}, std::chrono::minutes(2));
}

Status Context::check_name(std::string_view name) {
  if (is_valid_name(name)) return {};
  return fail(ErrorCode::kInvalid, fmt::format("'{}' is no valid name", name));
}

std::string default_socket() {
  if (const char* given = variable("FORERUN_SOCKET")) return given;
  const std::string system = "/run/forerun/forerund.sock";
  if (::geteuid() == 0 || os::path_exists(system)) return system;
  // As forerund chooses for a user without root.
  const std::string home = variable("HOME") ? variable("HOME") : "/tmp";
  const std::string state =
      variable("XDG_STATE_HOME") ? variable("XDG_STATE_HOME") : home + "/.local/state";
  const std::string runtime =
      variable("XDG_RUNTIME_DIR") ? variable("XDG_RUNTIME_DIR") : state + "/forerun";
  return runtime + "/forerun/forerund.sock";
}

void print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void print_json(const Context& context, const std::string& body) {
  if (context.output == Output::kJsonLines) {
    json::error_code error;
    const json::value value = json::parse(body, error);
    const json::object* object = error ? nullptr : value.if_object();
    const json::value* items = object ? object->if_contains("items") : nullptr;
    if (items && items->is_array()) {
      for (const json::value& item : items->as_array()) print(json::serialize(item) + "\n");
      return;
    }
  }
  print(body + "\n");
}

}  // namespace forerun::cli
