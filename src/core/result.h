// Errors as values: Result<T>, Error, FR_TRY, and FR_ASSERT for programmer errors.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace forerun {

// A small stable set, so that callers and scripts can tell failures apart. Shown in API answers by
// name.
enum class ErrorCode {
  kInvalid,  // the input is wrong: a malformed file, a bad argument
  kNotFound,
  kExists,
  kCorrupt,      // data does not match its checksum or its format
  kUnavailable,  // a peer or device does not answer now; trying again may help
  kTimedOut,
  kTooLarge,  // over a stated limit
  kNoSpace,
  kDenied,
  kIo,  // the operating system reported an error; see errno_value
  kUnsupported,
  kInternal,
};

std::string_view error_code_name(ErrorCode code);

// What was attempted on what, and why it failed. Printed once, as one sentence.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;  // "cannot open chunk ab12…: no such file"
  int errno_value = 0;

  // Returns this error with what was attempted in front: "cannot import disk.raw: <message>".
  Error within(std::string_view attempted) &&;
  Error within(std::string_view attempted) const&;
};

template <typename T>
using Result = std::expected<T, Error>;
using Status = std::expected<void, Error>;

// Returns an Error as the unexpected alternative of any Result.
std::unexpected<Error> fail(ErrorCode code, std::string message);
// Returns an Error of kind kIo (kNotFound, kNoSpace, kDenied where errno says so): "cannot
// <attempted>: <strerror>".
std::unexpected<Error> fail_errno(std::string_view attempted, int errno_value);

[[noreturn]] void assert_failed(const char* expression, const char* file, int line,
                                std::string_view detail);

}  // namespace forerun

#define FR_CONCAT_INNER(a, b) a##b
#define FR_CONCAT(a, b) FR_CONCAT_INNER(a, b)

// FR_TRY(auto value, expression): declares value from a Result, or returns its error.
#define FR_TRY(declaration, ...)                                                \
  auto FR_CONCAT(fr_result_, __LINE__) = (__VA_ARGS__);                         \
  if (!FR_CONCAT(fr_result_, __LINE__))                                         \
    return std::unexpected(std::move(FR_CONCAT(fr_result_, __LINE__).error())); \
  declaration = std::move(*FR_CONCAT(fr_result_, __LINE__))

// FR_CHECK(expression): returns the error of a Status or Result whose value is not needed.
#define FR_CHECK(...)                                       \
  do {                                                      \
    if (auto fr_status = (__VA_ARGS__); !fr_status)         \
      return std::unexpected(std::move(fr_status.error())); \
  } while (false)

// For programmer errors only; stays on in release. Input from outside never reaches it.
#define FR_ASSERT(condition, ...)                                                              \
  do {                                                                                         \
    if (!(condition)) [[unlikely]]                                                             \
      ::forerun::assert_failed(#condition, __FILE__, __LINE__, std::string_view{__VA_ARGS__}); \
  } while (false)
