#include "core/result.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace forerun {

std::string_view error_code_name(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalid:
      return "invalid";
    case ErrorCode::kNotFound:
      return "not_found";
    case ErrorCode::kExists:
      return "exists";
    case ErrorCode::kCorrupt:
      return "corrupt";
    case ErrorCode::kUnavailable:
      return "unavailable";
    case ErrorCode::kTimedOut:
      return "timed_out";
    case ErrorCode::kTooLarge:
      return "too_large";
    case ErrorCode::kNoSpace:
      return "no_space";
    case ErrorCode::kDenied:
      return "denied";
    case ErrorCode::kIo:
      return "io";
    case ErrorCode::kUnsupported:
      return "unsupported";
    case ErrorCode::kInternal:
      return "internal";
  }
  return "internal";
}

Error Error::within(std::string_view attempted) && {
  message = fmt::format("{}: {}", attempted, message);
  return std::move(*this);
}

Error Error::within(std::string_view attempted) const& { return Error{*this}.within(attempted); }

std::unexpected<Error> fail(ErrorCode code, std::string message) {
  return std::unexpected(Error{code, std::move(message), 0});
}

std::unexpected<Error> fail_errno(std::string_view attempted, int errno_value) {
  ErrorCode code = ErrorCode::kIo;
  switch (errno_value) {
    case ENOENT:
      code = ErrorCode::kNotFound;
      break;
    case EEXIST:
      code = ErrorCode::kExists;
      break;
    case ENOSPC:
    case EDQUOT:
      code = ErrorCode::kNoSpace;
      break;
    case EACCES:
    case EPERM:
      code = ErrorCode::kDenied;
      break;
    case ETIMEDOUT:
      code = ErrorCode::kTimedOut;
      break;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
      code = ErrorCode::kUnavailable;
      break;
    default:
      break;
  }
  char text[128];
  const char* reason = strerror_r(errno_value, text, sizeof text);
  return std::unexpected(Error{code, fmt::format("cannot {}: {}", attempted, reason), errno_value});
}

void assert_failed(const char* expression, const char* file, int line, std::string_view detail) {
  fmt::print(stderr, "forerun: assertion failed: {} at {}:{} {}\n", expression, file, line, detail);
  std::fflush(stderr);
  std::abort();
}

}  // namespace forerun
