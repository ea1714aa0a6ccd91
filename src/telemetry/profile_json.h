// A profile as one line of JSON, and back with suspicion: a guest may send anything.
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "telemetry/profile.h"

namespace forerun::telemetry {

// Why a line was not taken. Counted by the host, never answered to the guest.
enum class Refusal : uint8_t {
  kTooLong,     // over kProfileBytesMax
  kNotJson,     // no JSON, or nested deeper than kProfileDepthMax
  kNotProfile,  // a member missing, unknown, of a wrong type, or too many entries
  kOutOfRange,  // a value that is not finite or not in its range
  kTimeBackwards,
  kTooOften,
};
inline constexpr size_t kRefusalCount = 6;
std::string_view refusal_name(Refusal refusal);

struct Refused {
  Refusal why = Refusal::kNotJson;
  std::string detail;  // "cpu.busy_ratio is over 1"
};

// Returns the profile as one line, without its end. Values out of range are brought into it, what
// is not finite becomes 0, lists are cut: so what it writes is always read.
std::string write_profile(Profile profile);

// ERRORS: all of Refusal but the last two, which need a past (profile_window.h).
std::expected<Profile, Refused> parse_profile(std::string_view line);

// Returns the JSON schema (draft 2020-12) of a profile, as docs/profile.schema.json has it.
std::string profile_schema();

}  // namespace forerun::telemetry
