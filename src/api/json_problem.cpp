// Errors as problem details (RFC 9457).
#include <fmt/core.h>

#include <boost/json.hpp>

#include "api/json_out.h"

namespace forerun::api {
namespace {

namespace json = boost::json;

std::string_view title_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalid:
      return "The request is wrong";
    case ErrorCode::kNotFound:
      return "There is no such thing";
    case ErrorCode::kExists:
      return "It exists already or is in use";
    case ErrorCode::kCorrupt:
      return "Data is damaged";
    case ErrorCode::kUnavailable:
      return "Something needed does not answer now";
    case ErrorCode::kTimedOut:
      return "It took too long";
    case ErrorCode::kTooLarge:
      return "Over a limit";
    case ErrorCode::kNoSpace:
      return "No space is left";
    case ErrorCode::kDenied:
      return "Permission denied";
    case ErrorCode::kIo:
      return "The operating system reported an error";
    case ErrorCode::kUnsupported:
      return "Not supported";
    case ErrorCode::kInternal:
      return "Internal error";
  }
  return "Internal error";
}

}  // namespace

std::string problem_json(const Error& error, int status, std::string_view instance) {
  const std::string_view code = error_code_name(error.code);
  return json::serialize(json::value{{"type", fmt::format("/problems/{}", code)},
                                     {"title", title_of(error.code)},
                                     {"status", status},
                                     {"detail", json::string(repair_utf8(error.message))},
                                     {"instance", json::string(repair_utf8(instance))},
                                     {"code", code}});
}

int http_status(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalid:
      return 400;
    case ErrorCode::kNotFound:
      return 404;
    case ErrorCode::kExists:
      return 409;
    case ErrorCode::kUnavailable:
      return 503;
    case ErrorCode::kTimedOut:
      return 504;
    case ErrorCode::kTooLarge:
      return 413;
    case ErrorCode::kNoSpace:
      return 507;
    case ErrorCode::kDenied:
      return 403;
    case ErrorCode::kUnsupported:
      return 501;
    case ErrorCode::kCorrupt:
    case ErrorCode::kIo:
    case ErrorCode::kInternal:
      return 500;
  }
  return 500;
}

}  // namespace forerun::api
